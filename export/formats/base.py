"""What a format of an export is made of: settings, a job, its files, and how they are written."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import UserError, import_optional

from ..network import Network
from ..source import Source

#: Precisions of weights and arithmetic. A format has some of them.
PRECISIONS = ("float32", "float16", "dynamic_range", "int8")
INT8_OUTPUTS = ("float32", "uint8")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of an export.

    Attributes:
        precisions: precisions of the files, from `PRECISIONS`. A SavedModel is in float32.
        batch_size: batch size of the `.tflite` files. Files of other formats take any.
        int8_output: output dtype of the int8 `.tflite` file, one of `INT8_OUTPUTS`.
        opset: version of the operators of the `.onnx` files.
        web_scripts: folder of the page's npm packages; see `export.formats.web.write_web`.
        cdn: URL from which the page fetches them instead.
        web_precision: precision of the page's network, from `PRECISIONS`.

    Raises:
        ValueError: if a setting is out of range.
    """

    precisions: Sequence[str] = PRECISIONS
    batch_size: int = 1
    int8_output: str = "float32"
    opset: int = 18
    web_scripts: Path | None = None
    cdn: str | None = None
    web_precision: str = "float32"

    def __post_init__(self):
        for precision in self.precisions:
            check_choice("precision", precision, PRECISIONS)
        check_int("batch_size", self.batch_size, minimum=1)
        check_choice("int8_output", self.int8_output, INT8_OUTPUTS)
        check_choice("web_precision", self.web_precision, PRECISIONS)


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A network to export, and how.

    Attributes:
        source: the `export.source.Source`.
        network: its `export.network.Network`.
        images: images for warm-up requests, uint8 `(count, height, width, channels)`.
        version: version number.
        settings: the `Settings`.
    """

    source: Source
    network: Network
    images: np.ndarray
    version: int
    settings: Settings


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A file or folder that an export writes.

    Attributes:
        name: name in the report, such as "ONNX int8".
        path: path relative to the folder of the export.
        precision: one of `PRECISIONS`; the bounds of the export depend on it.
        write: function that writes the file at a `Path`, and others next to it. It may return the
            errors of the network's layers, a list of dicts with "layer" and "error". It raises a
            `UserError` if the format cannot express the network.
        output: "features" for a file that gives the features of a classifier, else None.
    """

    name: str
    path: str
    precision: str
    write: Callable[[Path], list[dict] | None]
    output: str | None = None


def one_for_each_precision(
    job: Job, form: "Format", suffix: str, write: Callable[[Path, str], list[dict] | None]
) -> Iterator[Artefact]:
    """Yields an `Artefact` for each chosen precision that a format has.

    Args:
        job: the `Job`.
        form: the `Format`.
        suffix: suffix of the files, without the dot.
        write: function that writes the file at a `Path` in a precision.
    """
    for precision in job.settings.precisions:
        if precision in form.precisions:
            path = f"{form.folder}/{job.source.name}_{precision}.{suffix}"
            yield Artefact(f"{form.title} {precision}", path, precision, _in(precision, write))


def _in(precision, write):
    """Returns a function that writes the file at a path in one precision."""
    return lambda path: write(path, precision)


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        name: name on the command line.
        title: name in messages.
        folder: folder of its files in an export.
        what: description of the folder.
        modules: modules that write and run its files.
        extra: the extra in setup.cfg that installs them.
        artefacts: function from a `Job` to the format's `Artefact`s.
        precisions: precisions to choose from; empty if its files are in float32 alone.
        check: function of a `Job` and a precision; it raises a `UserError` if that file cannot be
            written.
        by_default: whether an export has the format if none is named.
        has_texts: whether `labels.txt` and `facts.json` are also written next to its files.
    """

    name: str
    title: str
    folder: str
    what: str
    modules: tuple[str, ...]
    extra: str
    artefacts: Callable[[Job], Iterable[Artefact]]
    precisions: tuple[str, ...] = PRECISIONS
    check: Callable[[Job, str], None] = lambda job, precision: None
    by_default: bool = True
    has_texts: bool = True

    @property
    def optional(self) -> bool:
        """Whether an export may lack the format if its packages are missing."""
        return self.extra != "export"

    def has_any(self, settings: Settings) -> bool:
        """Whether the format has one of the chosen precisions."""
        return not self.precisions or not {*self.precisions}.isdisjoint(settings.precisions)

    def check_precisions(self, settings: Settings) -> None:
        """Raises a `UserError` if the format has none of the chosen precisions."""
        if not self.has_any(settings):
            raise UserError(
                f"`precision` must be one of {', '.join(self.precisions)} for {self.title}."
                f" Received: {', '.join(settings.precisions)}"
            )

    def import_modules(self) -> None:
        """Imports the modules; raises a `MissingPackageError` that names the extra."""
        for module in self.modules:
            import_optional(module, extra=self.extra)


def check_calibration(job: Job, precision: str) -> None:
    """Raises a `UserError` if int8 is requested without images for its calibration."""
    if precision == "int8" and job.source.examples is None:
        raise UserError(
            "int8 needs calibration images. Give --calibration with a folder of photographs or an"
            " .npz file, or omit int8: --precision float32 float16 dynamic_range"
        )
