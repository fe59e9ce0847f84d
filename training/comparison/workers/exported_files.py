"""Worker: an exported network, one image at a time. All contenders' files run in the same way."""

import measuring
import numpy as np


def measure(request):
    """Loads "file" and runs it; the request has "form", "signature" and "image_size" too."""
    openers = {"saved_model": _open_saved_model, "tflite": _open_tflite}
    return measuring.steps(openers[request["form"]](request), request["seconds"])


def _open_saved_model(request):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(request["threads"])
    loaded = tf.saved_model.load(request["file"])
    signature = loaded.signatures[request["signature"]]
    ((name, spec),) = signature.structured_input_signature[1].items()
    images = tf.constant(_image(request["image_size"], spec.dtype.as_numpy_dtype))

    def run():
        (outputs,) = signature(**{name: images}).values()
        return outputs.numpy()

    run.loaded = loaded  # or its variables would go
    return run


def _open_tflite(request):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(request["file"], num_threads=request["threads"])
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = _image(request["image_size"], source["dtype"])

    def run():
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return run


def _image(size, dtype):
    """One random image `(1, size, size, 3)`: levels where these are asked for."""
    rng = np.random.default_rng(0)
    shape = (1, size, size, 3)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 256, shape, dtype=dtype)
    return rng.standard_normal(shape, dtype=dtype)


if __name__ == "__main__":
    measuring.answer(measure)
