"""Loads the same batches with PyTorch, torchvision and timm to compare speeds."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError
from regnet_tf._torch import import_timm, import_with_torch

from ..augmentation import check_policy
from . import speed
from .splits import Split

_ENDLESS = 10**9  # images
_WAIT = 120  # seconds to wait for a batch, as a worker may have died


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The speed of each turn.

    Attributes:
        ours: speeds of `training.data.batches.training_batches`.
        theirs: speeds of PyTorch's loader.
    """

    ours: tuple[speed.Rate, ...]
    theirs: tuple[speed.Rate, ...]

    @property
    def ratios(self) -> list[float]:
        """`ours / theirs` for each turn, in images per second of CPU time."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [one.per_cpu_second / other.per_cpu_second for one, other in pairs]

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

    Both read the same files and apply the recipe's augmentation, see `make_loader`. PyTorch uses
    one worker per core.

    Args:
        folder: folder of class folders, from which `split` was loaded.
        split: a `training.data.table.TableSplit` of files.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.
        turns: number of turns for each pipeline.
        seconds: duration of a turn, without its start.

    Raises:
        UserError: if a package is not installed.
    """
    batch_size = recipe.schedule.batch_size
    loader = make_loader(folder, recipe, classes)
    batches = speed.endless_batches(split, recipe, classes)
    prepared_ahead = loader.prefetch_factor * loader.num_workers
    ours, theirs = [], []
    for _ in range(turns):
        # A new iterator each time, so that one pipeline's threads or processes end before the
        # other pipeline starts.
        ours.append(speed.rate(iter(batches), batch_size, seconds, warmup=3))
        theirs.append(speed.rate(iter(loader), batch_size, seconds, warmup=prepared_ahead + 1))
    return Comparison(tuple(ours), tuple(theirs))


def make_loader(folder, recipe, classes):
    """Returns an endless loader with the augmentation of a recipe, by torchvision and timm.

    RandAugment and erasing with noise are timm's, with bilinear interpolation as here. All else is
    torchvision's, as in its training reference. PCA lighting, and random shifts, rotations and
    zooms of batches are left out, as neither project has them.

    Args:
        folder: folder of class folders.
        recipe: a `training.recipes.Recipe`.
        classes: number of classes.

    Returns:
        A `torch.utils.data.DataLoader` of images and labels.

    Raises:
        UserError: if a package is not installed.
    """
    torch, torchvision = import_torchvision()
    augmentation, images = recipe.augmentation, recipe.images
    steps = torchvision.transforms.Compose(list(_steps(augmentation, images)))
    files = torchvision.datasets.ImageFolder(str(folder), steps)
    return torch.utils.data.DataLoader(
        files,
        recipe.schedule.batch_size,
        sampler=torch.utils.data.RandomSampler(files, replacement=True, num_samples=_ENDLESS),
        num_workers=available_cores(),
        collate_fn=_Collate(_mixing(augmentation, classes)),
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


def _steps(augmentation, images):
    """Returns the changes of one image, from Pillow's image to a normalized tensor."""
    torch, torchvision = import_torchvision()
    transforms = torchvision.transforms
    bicubic = images.interpolation == "bicubic"
    method = transforms.InterpolationMode.BICUBIC if bicubic else _bilinear(transforms)
    if augmentation.crop == "whole":
        yield transforms.Resize((images.size, images.size), method)
    else:
        area = augmentation.crop_area
        yield transforms.RandomResizedCrop(images.size, area, interpolation=method)
    if augmentation.flip:
        yield transforms.RandomHorizontalFlip()
    if augmentation.policy == "trivial_augment_wide":
        yield transforms.TrivialAugmentWide(interpolation=_bilinear(transforms))
    elif check_policy(augmentation.policy):
        yield _rand_augment(augmentation.policy, images.mean)
    yield transforms.PILToTensor()
    yield transforms.ConvertImageDtype(torch.float)
    yield transforms.Normalize(images.mean, images.std)
    if augmentation.erasing and augmentation.erasing_mode == "zero":
        yield transforms.RandomErasing(augmentation.erasing)
    elif augmentation.erasing:
        erasing = _timms_data().random_erasing.RandomErasing
        yield erasing(augmentation.erasing, mode=augmentation.erasing_mode, device="cpu")


def _rand_augment(policy, mean):
    data = _timms_data()
    fill = tuple(round(255 * level) for level in mean)
    method = data.transforms.str_to_pil_interp("bilinear")
    return data.rand_augment_transform(policy, {"img_mean": fill, "interpolation": method})


def _bilinear(transforms):
    return transforms.InterpolationMode.BILINEAR


def _timms_data():
    return import_timm()[1].data


def _mixing(augmentation, classes):
    """Returns the changes of a whole batch, of which one is drawn."""
    import torchvision.transforms.v2

    transforms = torchvision.transforms.v2
    changes = []
    if augmentation.mixup:
        changes.append(transforms.MixUp(alpha=augmentation.mixup, num_classes=classes))
    if augmentation.cutmix:
        changes.append(transforms.CutMix(alpha=augmentation.cutmix, num_classes=classes))
    return transforms.RandomChoice(changes) if changes else None


class _Collate:
    """Makes a batch and mixes its images in the worker, as torchvision's training reference."""

    def __init__(self, mix):
        self._mix = mix

    def __call__(self, examples):
        import torch

        batch = torch.utils.data.default_collate(examples)
        return batch if self._mix is None else self._mix(*batch)
