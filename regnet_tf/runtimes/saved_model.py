"""SavedModels in TensorFlow."""

import contextlib
from pathlib import Path

import tensorflow as tf

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError
from regnet_tf._files import FACTS_FILE, LABELS_FILE
from regnet_tf.runtimes.runtime import Runtime, main_output, make_runtime, telling

_FILES = "serving_default"
#: Signatures whose input counts, if a SavedModel has several that take images.
_FIRST = ("images", _FILES)


def is_saved_model(path: Path) -> bool:
    """Whether a path is the folder of a SavedModel."""
    return (path / "saved_model.pb").is_file()


def open_saved_model(path: Path, threads: int | None = None) -> Runtime:
    """Returns the runtime of a SavedModel; see `open_file`.

    Its outputs are those of all signatures that take the same batch of images. If "serving_default"
    takes image files, the runtime takes them, too.
    """
    if threads is not None:
        limit_tensorflow(threads)
    with telling(f"{path} cannot be read"):
        loaded = _load(path)
        inputs = {name: _inputs(one) for name, one in loaded.signatures.items()}
    names = dict.fromkeys((*_FIRST, *inputs))
    of_images = [name for name in names if _ranks(inputs.get(name, {})) == [4]]
    if not of_images:
        raise UserError(f"{path} has no signature that takes a batch of images alone.")
    ((argument, spec),) = inputs[of_images[0]].items()
    sources, shapes = {}, {}
    for name in of_images:
        for output, tensor in loaded.signatures[name].structured_outputs.items():
            if inputs[name] == {argument: spec} and output not in sources:
                sources[output], shapes[output] = name, _sides(tensor.shape)
    main = main_output(shapes)

    def run(images, output):  # refers to `loaded`, whose resources would not outlive it
        function = loaded.signatures[sources[output]]
        return function(**{argument: tf.cast(images, spec.dtype)})[output].numpy()

    def run_files(files):
        ((argument, _),) = inputs[_FILES].items()
        with telling(f"{path} does not run"):
            return loaded.signatures[_FILES](**{argument: tf.constant(list(files))})[main].numpy()

    return make_runtime(
        path,
        shape=_sides(spec.shape),
        dtype=spec.dtype.as_numpy_dtype,
        outputs=shapes,
        run=run,
        files=_files(path),
        run_files=run_files if _takes_files(loaded, inputs, main) else None,
    )


def limit_tensorflow(threads: int) -> None:
    """Sets the number of threads that TensorFlow uses in this process.

    Raises:
        UserError: if TensorFlow has started with another number.
    """
    settings = tf.config.threading
    if threads == (settings.get_intra_op_parallelism_threads() or available_cores()):
        return
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UserError(
            "`threads` of a SavedModel must be chosen before TensorFlow starts, in a new process."
            f" Received: threads={threads}"
        ) from error


def _load(path):
    # `load` would log a damaged fingerprint with a traceback, and go on.
    with contextlib.suppress(FileNotFoundError):  # it may have none
        tf.saved_model.experimental.read_fingerprint(str(path))
    return tf.saved_model.load(str(path))


def _inputs(function):
    """Returns the `TensorSpec`s of a signature, by argument."""
    return function.structured_input_signature[1]


def _ranks(specs):
    return [spec.shape.rank for spec in specs.values()]


def _takes_files(loaded, inputs, main):
    """Whether a signature maps the contents of files to the main output."""
    dtypes = [spec.dtype for spec in inputs.get(_FILES, {}).values()]
    return dtypes == [tf.string] and main in loaded.signatures[_FILES].structured_outputs


def _sides(shape):
    return () if shape.rank is None else tuple(shape.as_list())


def _files(path):
    extra = path / "assets.extra"
    names = [name for name in (LABELS_FILE, FACTS_FILE) if (extra / name).is_file()]
    return {name: (extra / name).read_bytes() for name in names}
