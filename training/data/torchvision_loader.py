"""Loads the same batches with torchvision (PyTorch workers, Pillow images) to compare speeds."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError
from regnet_tf._torch import import_with_torch

from . import speed
from .splits import Split

_ENDLESS = 10**9  # images
_WAIT = 120  # seconds to wait for a batch, as a worker may have died


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Images per second of each turn.

    Attributes:
        ours: speeds of `training.data.batches.training_batches`.
        theirs: speeds of torchvision's loader.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """`ours / theirs` for each turn."""
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of `ratios`."""
        return statistics.median(self.ratios)


def compare(
    folder: Path,
    split: Split,
    recipe: Any,
    classes: int,
    turns: int = 5,
    seconds: float = 5.0,
) -> Comparison:
    """Measures both pipelines in turns, so that a slowdown of the machine affects both.

    Both read the same files, apply random resized crops at the recipe's size, flip and normalize.
    Ours also applies the recipe's other augmentations. torchvision uses one worker per core.

    Args:
        folder: folder of class folders, from which `split` was loaded.
        split: a `training.data.table.TableSplit` of files.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        turns: number of turns for each pipeline.
        seconds: duration of a turn, without its start.

    Raises:
        UserError: if PyTorch or torchvision is not installed.
    """
    batch_size = recipe.schedule.batch_size
    loader = make_loader(folder, recipe.images, batch_size)
    batches = speed.endless_batches(split, recipe, classes)
    prepared_ahead = loader.prefetch_factor * loader.num_workers
    ours, theirs = [], []
    for _ in range(turns):
        # A new iterator each time, so that one pipeline's threads or processes end before the
        # other pipeline starts.
        ours.append(speed.rate(iter(batches), batch_size, seconds, warmup=3))
        theirs.append(speed.rate(iter(loader), batch_size, seconds, warmup=prepared_ahead + 1))
    return Comparison(tuple(ours), tuple(theirs))


def make_loader(folder, images, batch_size):
    """Returns an endless loader with the augmentation of torchvision's training reference.

    Args:
        folder: folder of class folders.
        images: the `Images` of a recipe: size and normalization.
        batch_size: images per batch.

    Returns:
        A `torch.utils.data.DataLoader`.

    Raises:
        UserError: if PyTorch or torchvision is not installed.
    """
    torch, torchvision = import_torchvision()
    transforms = torchvision.transforms
    files = torchvision.datasets.ImageFolder(
        str(folder),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(images.size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(images.mean, images.std),
            ]
        ),
    )
    return torch.utils.data.DataLoader(
        files,
        batch_size,
        sampler=torch.utils.data.RandomSampler(files, replacement=True, num_samples=_ENDLESS),
        num_workers=available_cores(),
        timeout=_WAIT,
    )


def import_torchvision():
    """Imports PyTorch and torchvision, even without torchvision's compiled operations.

    Raises:
        UserError: if they are not installed.
    """
    try:
        return import_with_torch("torchvision")
    except ModuleNotFoundError as error:
        raise UserError(
            "The comparison needs PyTorch and torchvision: pip install torch torchvision"
        ) from error
