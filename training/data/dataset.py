"""Labelled images with a training and a test split (`DataSet`)."""

import dataclasses

from regnet_tf._checks import check_label_lines
from regnet_tf._errors import UserError, printable

from .splits import Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labelled images.

    Attributes:
        name: name that was passed to `load`.
        class_names: names of the classes that were kept.
        train: the training split, or None.
        test: the test split, or None.
        any_class: whether any one of several classes of an image is a right answer, instead of all
            of them.
        only_its_classes: whether only the scores of its classes are compared, if a network has
            more, as is usual for ImageNet-A and ImageNet-R.
        notes: lines about what was assumed or left out.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split | None
    test: Split | None
    any_class: bool = False
    only_its_classes: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        check_label_lines(f"The classes of {printable(self.name)}", self.class_names)

    @property
    def target(self) -> str:
        """What has classes: "class" or "classes" of an image, "pixels" or "boxes"."""
        split = self.test or self.train
        return "class" if split is None else split.target


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompleteDataSet(DataSet):
    """A data set that can be trained on and tested with: it has both splits."""

    train: Split
    test: Split

    @classmethod
    def of(cls, data: DataSet) -> "CompleteDataSet":
        """Returns the same data set; raises a `UserError` if it lacks a split."""
        if data.train is None:
            raise UserError(" ".join([f"{data.name} has no images to train on.", *data.notes]))
        if data.test is None:
            raise UserError(f"{data.name} has no images to test with.")
        return cls(
            name=data.name,
            class_names=data.class_names,
            train=data.train,
            test=data.test,
            any_class=data.any_class,
            only_its_classes=data.only_its_classes,
            notes=data.notes,
        )
