"""Worker: runs an exported network in the runtime for its file, the same way for all peers."""

import abc
import importlib
from pathlib import Path

import measuring


class _Runtime(abc.ABC):
    """A file in a runtime; see `keras_peers.Peer` for the methods."""

    module: str

    def load(self):
        self.library = importlib.import_module(self.module)

    def limit(self, threads):
        self.threads = threads

    def build(self, request):
        """Loads the file of a request."""
        self.file = Path(request["file"])
        self.open(request)

    @abc.abstractmethod
    def open(self, request):
        """Makes the network of the file ready for `step`."""

    def facts(self):
        """Returns a dict with "file_mib", the size of the file, or of the files of its folder."""
        files = self.file.rglob("*") if self.file.is_dir() else [self.file]
        return {"file_mib": sum(file.stat().st_size for file in files if file.is_file()) / 2**20}


class _SavedModel(_Runtime):
    module = "tensorflow"

    def limit(self, threads):
        self.library.config.threading.set_intra_op_parallelism_threads(threads)
        self.library.config.threading.set_inter_op_parallelism_threads(threads)

    def open(self, request):
        self.loaded = self.library.saved_model.load(request["file"])
        self.signature = self.loaded.signatures[request["signature"]]

    def step(self, part, images, labels):
        ((name, spec),) = self.signature.structured_input_signature[1].items()
        images = self.library.constant(_for_type(images, spec.dtype.as_numpy_dtype))

        def run():
            (outputs,) = self.signature(**{name: images}).values()
            return outputs.numpy()

        return run


class _LiteRT(_Runtime):
    """Computes with XNNPACK by default."""

    module = "ai_edge_litert.interpreter"

    def open(self, request):
        self.interpreter = self.library.Interpreter(request["file"], num_threads=self.threads)
        self.interpreter.allocate_tensors()

    def step(self, part, images, labels):
        (source,) = self.interpreter.get_input_details()
        (target,) = self.interpreter.get_output_details()
        images = _for_type(images, source["dtype"])

        def run():
            self.interpreter.set_tensor(source["index"], images)
            self.interpreter.invoke()
            return self.interpreter.get_tensor(target["index"])

        return run


class _OnnxRuntime(_Runtime):
    module = "onnxruntime"

    def open(self, request):
        options = self.library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.graph_optimization_level = self.library.GraphOptimizationLevel.ORT_ENABLE_ALL
        providers = ["CPUExecutionProvider"]
        self.session = self.library.InferenceSession(request["file"], options, providers)

    def step(self, part, images, labels):
        (source,) = self.session.get_inputs()
        feed = {source.name: _channels_first(images)}
        return lambda: self.session.run(None, feed)[0]


class _OpenVino(_Runtime):
    module = "openvino"

    def open(self, request):
        options = {
            "INFERENCE_NUM_THREADS": self.threads,
            # All threads for one call, as in the other runtimes; THROUGHPUT is for parallel calls.
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 if the processor has it
        }
        core = self.library.Core()
        self.compiled = core.compile_model(core.read_model(request["file"]), "CPU", options)

    def step(self, part, images, labels):
        call, images = self.compiled.create_infer_request(), _channels_first(images)
        return lambda: call.infer({0: images})[0]


def _for_type(images, dtype):
    """Returns the images, converted to levels 0 to 255 if the file takes integers."""
    import numpy as np

    if not np.issubdtype(dtype, np.integer):
        return images
    return np.clip(128 + 64 * images, 0, 255).astype(dtype)


def _channels_first(images):
    import numpy as np

    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


PEERS = {
    "saved_model": _SavedModel,
    "tflite": _LiteRT,
    "litert": _LiteRT,
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
}

if __name__ == "__main__":
    measuring.measure(PEERS)
