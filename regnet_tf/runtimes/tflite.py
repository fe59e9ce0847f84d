"""`.tflite` files in LiteRT, with XNNPACK."""

import zipfile
from pathlib import Path

import numpy as np

from regnet_tf._archives import DAMAGES, read_entry
from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError, first_line, import_optional
from regnet_tf._files import FACTS_FILE, LABELS_FILE
from regnet_tf.runtimes.runtime import Runtime, make_runtime, telling, the_input


def open_tflite(path: Path, threads: int | None = None) -> Runtime:
    """Returns the runtime of a `.tflite` file; see `open_file`.

    Its texts are in the archive behind the model. Images for int8 inputs are quantized, and
    quantized outputs become floats.
    """
    litert = import_optional("ai_edge_litert.interpreter", extra="export")
    with telling(f"{path} cannot be read"):
        interpreter = litert.Interpreter(str(path), num_threads=threads or available_cores())
        interpreter.allocate_tensors()
        source = the_input(path, interpreter.get_input_details())
        targets = _outputs(interpreter)

    def run(images, output):
        if (images.shape != interpreter.get_input_details()[0]["shape"]).any():
            # Only if the file leaves a side open: XNNPACK accepts no other batch.
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], _quantized(images, source))
        interpreter.invoke()
        target = targets[output]
        return dequantized(interpreter.get_tensor(target["index"]), target)

    return make_runtime(
        path,
        shape=_sides(source),
        dtype=source["dtype"],
        outputs={name: _sides(target) for name, target in targets.items()},
        run=run,
        files=_archived(path),
    )


def _outputs(interpreter):
    """Returns LiteRT's details of each output, under its name in the signature if there is one."""
    names: dict[int, str] = {}
    for signature in interpreter.get_signature_list():
        details = interpreter.get_signature_runner(signature).get_output_details()
        names |= {one["index"]: name for name, one in details.items()}
    return {names.get(one["index"], one["name"]): one for one in interpreter.get_output_details()}


def _sides(details):
    """Returns the shape of an input or output; None for free sides."""
    sides = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    return tuple(None if side < 0 else int(side) for side in sides)


def _archived(path):
    """Returns the bytes of the texts in the archive behind a `.tflite` file, by name."""
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            there = set(archive.namelist()) & {LABELS_FILE, FACTS_FILE}
            return {name: read_entry(archive, name) for name in there}
    except DAMAGES as error:
        raise UserError(f"The archive behind {path} is damaged: {first_line(error)}") from error


def _quantized(images, details):
    """Returns images in the input type of a file."""
    scale, zero = details["quantization"]
    if details["dtype"] == np.int8 and scale:
        images = np.clip(np.round(images / scale) + zero, -128, 127)
    return images.astype(details["dtype"], copy=False)


def dequantized(values, details):
    """Returns the values of a tensor as float32 if it is quantized, else unchanged.

    Args:
        values: numpy array of the tensor.
        details: its entry in the interpreter's list of tensors, inputs or outputs.
    """
    scale, zero = details["quantization"]
    return (values.astype("float32") - zero) * scale if scale else values
