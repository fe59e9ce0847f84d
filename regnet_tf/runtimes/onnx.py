"""`.onnx` files in ONNX Runtime."""

from pathlib import Path

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError, import_optional
from regnet_tf._files import FACTS_FILE, LABELS_FILE
from regnet_tf.runtimes.runtime import Runtime, make_runtime, telling, the_input

#: ONNX Runtime's names of types that numpy has, too -> numpy's.
_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
}
_SILENT = 4  # ONNX Runtime's level of messages: only those before it aborts


def open_onnx(path: Path, threads: int | None = None) -> Runtime:
    """Returns the runtime of a `.onnx` file; see `open_file`.

    Its texts are entries of the same names in the metadata of the model.
    """
    onnxruntime = import_optional("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()
    options.log_severity_level = _SILENT
    with telling(f"{path} cannot be read"):
        session = onnxruntime.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print errors, and try again
        )
        source = the_input(path, session.get_inputs())
        outputs = {one.name: _sides(one.shape) for one in session.get_outputs()}
        metadata = session.get_modelmeta().custom_metadata_map
    if source.type not in _DTYPES:
        raise UserError(f"{path} takes no images: its input has the type {source.type}.")
    dtype = _DTYPES[source.type]

    def run(images, output):
        return session.run([output], {source.name: images.astype(dtype, copy=False)})[0]

    names = [name for name in (LABELS_FILE, FACTS_FILE) if name in metadata]
    return make_runtime(
        path,
        shape=_sides(source.shape),
        dtype=dtype,
        outputs=outputs,
        run=run,
        files={name: metadata[name].encode() for name in names},
    )


def _sides(shape):
    """Returns a shape with None for sides that have a name or are unknown."""
    return tuple(side if isinstance(side, int) else None for side in shape)
