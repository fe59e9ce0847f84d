"""What the results of a classifier mean: a network that found nothing, and rare classes."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

_NEARLY_ALL = 0.95  # share of images
_FEW = 10  # test images of a class, too few for its recall
_MOST_NAMES = 5


def remarks(confusion: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Returns sentences about results that look better than they are.

    Args:
        confusion: counts of images `(true class, predicted class)`.
        class_names: names of the classes.
    """
    return [*_collapse(confusion, class_names), *_baseline(confusion, class_names)]


def rare_classes(support: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Returns the classes with few test images, the rarest first: name -> number of images."""
    order = np.argsort(support, kind="stable")
    return {class_names[n]: int(support[n]) for n in order if support[n] < _FEW}


def about_rare_classes(rare: Mapping[str, int]) -> str:
    """Returns a sentence about the result of `rare_classes`, which is not empty."""
    shown = ", ".join(f'"{name}" ({count})' for name, count in [*rare.items()][:_MOST_NAMES])
    more = f" and {len(rare) - _MOST_NAMES} more" if len(rare) > _MOST_NAMES else ""
    these = "This class has" if len(rare) == 1 else "These classes have"
    return f"{these} fewer than {_FEW} test images, too few to measure: {shown}{more}."


def is_imbalanced(support: np.ndarray) -> bool:
    """Returns whether one class has over one and a half times the images of another one."""
    there = support[support > 0]
    return len(there) > 1 and bool(there.max() > 1.5 * there.min())


def _collapse(confusion: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """Yields a sentence if nearly all images are called one class, and few others are found."""
    images, predicted, support = confusion.sum(), confusion.sum(0), confusion.sum(1)
    called = int(predicted.argmax())
    others = images - support[called]
    found = np.trace(confusion) - confusion[called, called]
    if others == 0 or predicted[called] < _NEARLY_ALL * images or found > others / 2:
        return
    rest = "it has found nothing else" if not found else f"of the others it has found {found}"
    yield f'It calls {predicted[called]} of {images} images "{class_names[called]}": {rest}.'


def _baseline(confusion: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """Yields a sentence if always naming the most frequent class is right as often."""
    support, right = confusion.sum(1), int(np.trace(confusion))
    most = int(support.argmax())
    if support[most] == confusion.sum() or right > support[most]:
        return
    yield (
        f'Always naming the most frequent class, "{class_names[most]}", is right for'
        f" {support[most]} of {confusion.sum()}."
    )
