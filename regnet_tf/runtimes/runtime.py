"""`Runtime`: the file of a network as a function of images, whatever program runs it."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regnet_tf._checks import check, check_choice
from regnet_tf._errors import UserError, first_line, printable

#: Shape of an array; None for a side of any length.
Shape = tuple[int | None, ...]

#: Names of outputs. The first of them that a file has is its main output.
_MAIN = ("probabilities", "detections", "logits", "features")
#: Order of the sides of a batch with its channels first, to put them last.
_CHANNELS_LAST = (0, 2, 3, 1)
#: What runtimes write before the reason of an error: places in their source, their own name.
_PLACES = ("Exception from", "Check '", "Converting input model")
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?")


@dataclasses.dataclass(frozen=True, eq=False)
class Runtime:
    """The file of a network, ready to run. Call it with images.

    Attributes:
        path: path of the file or folder.
        dtype: dtype of the images. uint8: levels of 0 to 255, which the file normalizes itself.
            float32: normalized images.
        shape: shape of a batch of images, `(batch, height, width, channels)`; None for a side of
            any length.
        outputs: shape of each output, by its name. The main output is the first one:
            "probabilities" or "detections", else "logits", else "features", else the first one of
            the file.
        files: the texts "labels.txt" and "facts.json" inside the file, as bytes by name.
        run_files: function from a list of encoded images, such as the contents of JPEG files, to
            the main output; None for files that take only arrays.
        channels_first: whether the file itself has the channels before height and width. The
            runtime takes and returns them last.
        run: function from one batch, in the file's own shape, and the name of an output to a numpy
            array. Call the runtime instead.

    Examples:
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]
        >>> keras.Sequential(layers).export("saved", verbose=False)
        >>> network = regnet_tf.runtimes.open_file("saved")
        >>> network.image_size, network.channels, network(np.zeros((3, 8, 8, 3))).shape
        (8, 3, (3, 5))
    """

    path: Path
    dtype: np.dtype
    shape: Shape
    outputs: Mapping[str, Shape]
    files: Mapping[str, bytes]
    run_files: Callable[[Sequence[bytes]], np.ndarray] | None
    channels_first: bool
    run: Callable[[np.ndarray, str], np.ndarray]

    @property
    def name(self) -> str:
        """Name of the file without its suffix, or name of the folder."""
        return self.path.name if self.path.is_dir() else self.path.stem

    @property
    def batch_size(self) -> int | None:
        """Number of images that the file takes at once; None for any number."""
        return self.shape[0]

    @property
    def image_size(self) -> int | None:
        """Height and width of the images in pixels; None for any."""
        return self.shape[1]

    @property
    def channels(self) -> int | None:
        """Number of channels of the images; None if the file does not tell it."""
        return self.shape[3]

    def __call__(self, images: Any, output: str | None = None) -> np.ndarray:
        """Runs the network on any number of images.

        Args:
            images: array `(batch, height, width, channels)`, in the range that `dtype` means;
                levels are rounded. If the file takes a fixed number of images, they are split, and
                the last batch is filled up.
            output: name of an output; by default, the main output.

        Returns:
            The output, float32 `(batch, ...)`. Maps are `(batch, height, width, channels)`.

        Raises:
            ValueError: for images of another shape, or an unknown output.
            UserError: if the network does not run, for example because its file is damaged.
        """
        output = next(iter(self.outputs)) if output is None else output
        check_choice("output", output, self.outputs)
        images = np.asarray(images)
        check("images", images.shape, self._fits(images.shape), f"of shape {self._allowed()}")
        if self.dtype == np.uint8 and images.dtype != np.uint8:
            images = np.clip(np.rint(images), 0, 255)
        images = images.astype(self.dtype, copy=False)
        size = self.batch_size or len(images)
        parts = [self._batch(images[i : i + size], output) for i in range(0, len(images), size)]
        return np.concatenate(parts)[: len(images)]

    def _fits(self, shape):
        sides = (None, *self.shape[1:])
        return len(shape) == 4 and all(
            given > 0 and side in (None, given) for given, side in zip(shape, sides, strict=True)
        )

    def _allowed(self):
        names = ("height", "width", "channels")
        sides = zip(names, self.shape[1:], strict=True)
        return f"(batch, {', '.join(str(side or name) for name, side in sides)})"

    def _batch(self, images, output):
        """Returns an output for the images of one batch, at most `batch_size`."""
        missing = (self.batch_size or len(images)) - len(images)
        if missing:
            images = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        if self.channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        with telling(f"{self.path} does not run"):
            values = np.asarray(self.run(images, output), "float32")
        is_map = self.channels_first and values.ndim == 4
        return values.transpose(_CHANNELS_LAST) if is_map else values


def make_runtime(
    path: Path,
    shape: Sequence[int | None],
    dtype: Any,
    outputs: Mapping[str, Sequence[int | None]],
    run: Callable[[np.ndarray, str], np.ndarray],
    files: Mapping[str, bytes],
    run_files: Callable[[Sequence[bytes]], np.ndarray] | None = None,
) -> Runtime:
    """Returns the `Runtime` of a file.

    Args:
        path: path of the file.
        shape: shape of its input, with the channels first or last; None for free sides.
        dtype: dtype of its input. Other types than uint8 become float32 in the `Runtime`.
        outputs: shape of each output by name, in the order of the file.
        run: see `Runtime`.
        files: see `Runtime`.
        run_files: see `Runtime`.

    Raises:
        UserError: unless the input is a batch of square images, and there is an output.
    """
    if len(shape) != 4:
        raise UserError(f"{path} takes no images: its input has the shape {tuple(shape)}.")
    if not outputs:
        raise UserError(f"{path} has no output.")
    channels_first = shape[2] == shape[3] != shape[1]  # images are squares
    if channels_first:
        shape = _channels_last(shape)
        outputs = {name: _channels_last(sides) for name, sides in outputs.items()}
    if shape[1] != shape[2]:
        raise UserError(
            f"{path} takes images of {shape[1]} x {shape[2]} pixels, which is no square."
        )
    names = main_output(outputs), *outputs
    return Runtime(
        path=path,
        dtype=np.dtype("uint8" if np.dtype(dtype) == np.uint8 else "float32"),
        shape=tuple(shape),
        outputs={name: tuple(outputs[name]) for name in names},
        files=files,
        run_files=run_files,
        channels_first=channels_first,
        run=run,
    )


def main_output(names: Collection[str]) -> str:
    """Returns the main one of the names of outputs; see `Runtime`."""
    return next(name for name in (*_MAIN, *names) if name in names)


def _channels_last(shape):
    """Returns the shape of a batch of maps with its channels last; other shapes as they are."""
    return [shape[side] for side in _CHANNELS_LAST] if len(shape) == 4 else shape


def the_input(path: Path, inputs: Sequence[Any]) -> Any:
    """Returns the only input of a file.

    Raises:
        UserError: if the file has another number of inputs.
    """
    if len(inputs) != 1:
        raise UserError(f"{path} must take one input, images. It takes {len(inputs)} inputs.")
    return inputs[0]


@contextlib.contextmanager
def telling(fault: str) -> Iterator[None]:
    """Context manager that turns each error of a runtime into a `UserError` of one line.

    Runtimes raise errors of any type for damaged files.

    Args:
        fault: the start of the message, such as "net.onnx cannot be read".
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(f"{fault}: {printable(_reason(error))}") from error


def _reason(error):
    """Returns the line of an error that tells what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_PLACES)]
    return _PREFIX.sub("", told[0]) if told else first_line(error)
