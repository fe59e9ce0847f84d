"""The files that take turns: those of exports, and single ones."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regnet_tf._errors import UserError
from regnet_tf.runtimes import open_file

from ..report import FILE, read_artefacts


class Opened(NamedTuple):
    """A file that is ready to run.

    Attributes:
        bind: function from images with levels 0 to 255, uint8 `(batch, size, size, channels)`, to a
            function without arguments, which is measured. It returns probabilities or logits
            `(batch, classes)`, a numpy array. What `bind` itself does is not measured.
        image_size: side of the images in pixels; None for any side.
        channels: number of channels of the images; None for any number.
    """

    bind: Callable[[Any], Callable[[], Any]]
    image_size: int | None = None
    channels: int | None = None


def open_shipped(path: Path, threads: int) -> Opened:
    """Opens a file of any format that `regnet export` writes.

    Args:
        path: path of the file or folder.
        threads: number of threads to run it with.

    Raises:
        UserError: if the file is damaged or unknown, or the package that runs it is missing.
    """
    runtime = open_file(path, threads)

    def bind(images):
        images = images.astype(runtime.dtype)
        return lambda: runtime(images)

    return Opened(bind, runtime.image_size, runtime.channels)


@dataclasses.dataclass(frozen=True)
class Contender:
    """A network in one file.

    Attributes:
        name: name in the report.
        path: path of the file or folder.
        open: function from the path and a number of threads to an `Opened`. Another process
            imports it by its name.
    """

    name: str
    path: Path
    open: Callable[[Path, int], Opened] = open_shipped

    @property
    def bytes(self) -> int:
        """Size of the file, with that of weights next to it; or of all files in the folder."""
        # OpenVINO has weights in a second file, and so has ONNX by PyTorch.
        weights = self.path.with_suffix(".bin"), Path(f"{self.path}.data")
        files = self.path.rglob("*") if self.path.is_dir() else (self.path, *weights)
        return sum(file.stat().st_size for file in files if file.is_file())


class Group(NamedTuple):
    """Files that are compared with each other. The first one is the base of the ratios.

    Attributes:
        name: name in the report.
        contenders: list of `Contender`s.
    """

    name: str
    contenders: list[Contender]


def groups_of(paths: Sequence[Path]) -> list[Group]:
    """Finds the files to measure.

    Args:
        paths: folders that `regnet export` wrote, and single files or SavedModels.

    Returns:
        A `Group` for each export, and one for all single files.

    Raises:
        UserError: if a path is missing, or an export is incomplete.
    """
    single, groups = [], []
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise UserError(f"{path} does not exist. Give folders of exports, or exported files.")
        if (path / FILE).is_file():
            groups.append(Group(str(path), _files_of_export(path)))
        else:
            single.append(Contender(str(path), path))
    return [*groups, *([Group("files", single)] if single else [])]


def _files_of_export(folder):
    entries = read_artefacts(folder / FILE)
    contenders = [Contender(name, folder / entry["path"]) for name, entry in entries.items()]
    for contender in contenders:
        if not contender.path.exists():
            raise UserError(f"{folder} is not a complete export: {contender.path} is missing.")
    return contenders
