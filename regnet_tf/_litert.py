"""Opens `.tflite` files, and returns their quantized outputs as floats."""

from regnet_tf._errors import UserError, first_line, import_optional


def open_interpreter(path, threads=None):
    """Returns LiteRT's interpreter of a `.tflite` file, with its tensors allocated.

    Args:
        path: path of the file.
        threads: number of threads to run it with; None for LiteRT's default.

    Raises:
        UserError: if the file cannot be read, or LiteRT is missing.
    """
    litert = import_optional("ai_edge_litert.interpreter", extra="export")
    try:
        interpreter = litert.Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    return interpreter


def invoked(interpreter, path, source, target, images):
    """Returns the interpreter's output for a batch of images.

    Args:
        interpreter: LiteRT's interpreter.
        path: path of its file, for the error.
        source: entry of the input in the interpreter's list of inputs.
        target: entry of the output in its list of outputs.
        images: numpy array in the shape and type of the input.

    Raises:
        UserError: if the network does not run, as the file is damaged.
    """
    try:
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} does not run: {first_line(error)}") from error
    return interpreter.get_tensor(target["index"])


def dequantized(values, details):
    """Returns the values of a tensor as float32 if it is quantized, else unchanged.

    Args:
        values: numpy array of the tensor.
        details: its entry in the interpreter's list of tensors, inputs or outputs.
    """
    scale, zero = details["quantization"]
    return (values.astype("float32") - zero) * scale if scale else values
