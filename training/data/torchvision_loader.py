"""torchvision's way to the same batches, to compare speeds: PyTorch's workers, Pillow's images."""

import dataclasses
import statistics

from regnet_tf._errors import UserError
from regnet_tf._torch import import_with_torch

from . import speed

_ENDLESS = 10**9  # images
_WAIT = 120  # seconds, for a batch of a worker that may have died


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Images per second, a figure for each turn.

    Attributes:
        ours: of `training.data.batches.training_batches`.
        theirs: of torchvision's loader.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How much faster ours is, turn by turn."""
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios)


def compare(folder, split, recipe, classes, turns=5, seconds=5.0) -> Comparison:
    """Measures both in turns, so that a machine that slows down slows both.

    Both read the same files, take a random part of each at the recipe's size, flip and normalize
    it; ours does whatever else the recipe asks for. torchvision has as many workers as there are
    cores.

    Args:
        folder: of class folders, which `split` was listed from.
        split: a `training.data.table.TableSplit` of files.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        turns: of each.
        seconds: of a turn, not counting its start.

    Raises:
        UserError: if PyTorch or torchvision is not installed.
    """
    loader = make_loader(folder, recipe)
    batches = speed.endless_batches(split, recipe, classes)
    prepared_ahead = loader.prefetch_factor * loader.num_workers
    ours, theirs = [], []
    for _ in range(turns):
        # A new iterator each time: the threads or processes of one end before the other starts.
        ours.append(speed.rate(iter(batches), recipe.batch_size, seconds, warmup=3))
        theirs.append(
            speed.rate(iter(loader), recipe.batch_size, seconds, warmup=prepared_ahead + 1)
        )
    return Comparison(tuple(ours), tuple(theirs))


def make_loader(folder, recipe):
    """Batches as torchvision's reference for training makes them, without end.

    Args:
        folder: of class folders.
        recipe: a `training.recipes.Recipe`; `image_size`, `batch_size`, `mean` and `std` count.

    Returns:
        A `torch.utils.data.DataLoader`.

    Raises:
        UserError: if PyTorch or torchvision is not installed.
    """
    torch, torchvision = import_torchvision()
    transforms = torchvision.transforms
    images = torchvision.datasets.ImageFolder(
        str(folder),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(recipe.image_size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(recipe.mean, recipe.std),
            ]
        ),
    )
    return torch.utils.data.DataLoader(
        images,
        recipe.batch_size,
        sampler=torch.utils.data.RandomSampler(images, replacement=True, num_samples=_ENDLESS),
        num_workers=speed.available_cores(),
        timeout=_WAIT,
    )


def import_torchvision():
    """PyTorch and torchvision, on machines without torchvision's compiled operations too.

    Raises:
        UserError: if they are not installed.
    """
    try:
        return import_with_torch("torchvision")
    except ModuleNotFoundError as error:
        raise UserError(
            "The comparison needs PyTorch and torchvision: pip install torch torchvision"
        ) from error
