"""Worker: RegNets in Keras on TensorFlow, from this project, kimm and tf_keras.

They train with `train_on_batch` and infer with `predict_on_batch`, which run TensorFlow graphs.
"""

import abc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import measuring

_RANGES = {
    "gamma": (0.5, 1.5),
    "beta": (-0.5, 0.5),
    "moving_mean": (-0.5, 0.5),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
}
_SIGNATURE = "serving_default"


class Peer(abc.ABC):
    """A network; subclasses import its library and create it."""

    keras_package = "keras"

    @abc.abstractmethod
    def import_library(self):
        """Returns the library."""

    @abc.abstractmethod
    def create(self, network, shape):
        """Returns the network with logits as output, for images of this shape."""

    def load(self):
        """Imports the library and everything that training needs."""
        self.library = self.import_library()
        self.keras = importlib.import_module(self.keras_package)
        self.tf = importlib.import_module("tensorflow")

    def limit(self, threads):
        """Sets the number of threads; call it before any computation."""
        self.tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.tf.config.threading.set_inter_op_parallelism_threads(threads)

    def build(self, request):
        """Creates the network of a request, with logits as output, compiled for training."""
        shape = (request["image_size"], request["image_size"], 3)
        self.model = self.create(request["network"], shape)
        self.model.compile(
            self.optimizers().SGD(0.01, momentum=0.9, nesterov=True),
            self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        # If the first step created the optimizer's variables, Keras would trace that step twice.
        self.model.optimizer.build(self.model.trainable_variables)

    def optimizers(self):
        """Returns the module whose SGD trains the network."""
        return self.keras.optimizers

    def facts(self):
        """Returns a dict with "parameters", the number of trainable parameters."""
        import numpy as np

        variables = self.model.trainable_variables
        return {"parameters": sum(int(np.prod(tuple(v.shape))) for v in variables)}

    def step(self, part, images, labels):
        """Returns a function that runs one batch and returns when it is done.

        Args:
            part: "training", "inference" or "latency"; the latter two differ only in the batch.
            images: float32 `(batch, size, size, 3)`.
            labels: int32 `(batch,)`.
        """
        images, labels = self.tf.constant(images), self.tf.constant(labels)
        if part == "training":
            return lambda: self.model.train_on_batch(images, labels)
        return lambda: self.model.predict_on_batch(images)

    def export(self, request):
        """Writes the network in a form to a folder; returns a dict with "file" and "signature"."""
        self._randomize()
        folder = Path(request["folder"])
        if request["form"] == "tflite":
            path = folder / "network.tflite"
            self.write_tflite(path, request["image_size"])
            return {"file": str(path), "signature": None}
        path = folder / "saved_model"
        self.model.export(str(path))
        return {"file": str(path), "signature": _SIGNATURE}

    def write_tflite(self, path, image_size):
        spec = self.tf.TensorSpec((1, image_size, image_size, 3), self.tf.float32)
        function = self.tf.function(lambda images: self.model(images, training=False))
        functions = [function.get_concrete_function(spec)]
        converter = self.tf.lite.TFLiteConverter.from_concrete_functions(functions, self.model)
        path.write_bytes(converter.convert())

    def _randomize(self):
        """Sets the normalization variables and biases to random values.

        In a new network they have no effect, and some converters drop them.
        """
        import numpy as np

        rng = np.random.default_rng(0)
        for variable in self.model.variables:
            kind = variable.name.rpartition("/")[2].partition(":")[0]
            if kind in _RANGES:
                variable.assign(rng.uniform(*_RANGES[kind], tuple(variable.shape)))


class Project(Peer):
    """regnet_tf; its files are written by `regnet export`."""

    def import_library(self):
        return importlib.import_module("regnet_tf")

    def create(self, network, shape):
        return self.library.build_regnet(
            network["key"],
            input_shape=shape,
            classes=network["classes"],
            classifier_activation=None,
        )

    def optimizers(self):
        return self.library

    def facts(self):
        onednn = importlib.import_module("regnet_tf._cpu").onednn()
        return {**super().facts(), "onednn": onednn}

    def export(self, request):
        self._randomize()
        folder = Path(request["folder"])
        source = folder / "network.keras"
        self.model.save(source)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "regnet_command",
            "export",
            source,
            "--name",
            "network",
            "--out",
            folder,
        ]
        command += ["--batch", str(request["batch_size"]), "--format", request["form"]]
        command += ["--precision", "float32"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout)
        if done.returncode:
            sys.exit((done.stdout.strip().splitlines() or ["regnet export failed"])[-1])
        if request["form"] == "tflite":
            return {"file": str(folder / "tflite" / "network_float32.tflite"), "signature": None}
        return {"file": str(folder / "serving" / "network" / "1"), "signature": "logits"}


class Kimm(Peer):
    def import_library(self):
        return importlib.import_module("kimm")

    def create(self, network, shape):
        return _of_the_paper(self.library.models, network, "kimm")(
            input_shape=shape,
            include_preprocessing=False,
            classes=network["classes"],
            classifier_activation=None,
            weights=None,
        )

    def write_tflite(self, path, image_size):
        self.library.export.export_tflite(self.model, image_size, str(path))


class LegacyKeras(Peer):
    keras_package = "tf_keras"

    def import_library(self):
        return importlib.import_module("tf_keras")

    def create(self, network, shape):
        return _of_the_paper(self.library.applications.regnet, network, "tf_keras")(
            input_shape=shape,
            include_preprocessing=False,
            classes=network["classes"],
            classifier_activation=None,
            weights=None,
        )


def _of_the_paper(module, network, library):
    """Returns the function or class of a variant in a module, such as `RegNetX004`."""
    name = "RegNet" + network["key"].removeprefix("regnet").replace("_", "", 1).upper()
    if not hasattr(module, name):
        sys.exit(f"{library} has no {network['key']}")
    return getattr(module, name)


PEERS = {"regnet_tf": Project, "kimm": Kimm, "tf_keras": LegacyKeras}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    measuring.measure(PEERS)
