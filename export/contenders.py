"""The contenders of `export.benchmark`: a network in its exported forms, and its peers."""

import dataclasses
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

KERAS = "SavedModel, Keras' normalization"
UNFUSED = "SavedModel, unfused"
FUSED = "SavedModel, fused"
TIMM = "timm, eager"
ONNX = "ONNX Runtime"
TFLITE = "TFLite {}"

#: Batch sizes for latency and for throughput.
BATCHES = (1, 32)

SIGNATURE = "serving_default"
_RANGES = {
    "gamma": (0.5, 1.5),
    "beta": (-0.5, 0.5),
    "moving_mean": (-0.5, 0.5),
    "moving_variance": (0.5, 1.5),
    "bias": (-0.1, 0.1),
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A network in one form.

    Attributes:
        name: name of the form.
        prepare: function from images with levels 0 to 255, uint8 `(batch, size, size, 3)`, to the
            input of `run`. It is not measured.
        run: function that returns logits `(batch, classes)`, a numpy array. TFLite files return
            probabilities.
        batches: batch sizes to measure.
    """

    name: str
    prepare: Callable
    run: Callable
    batches: tuple[int, ...] = BATCHES


def make_model(variant, image_size):
    """Returns an untrained network from normalized images to logits."""
    import regnet_tf

    shape = (image_size, image_size, 3)
    model = regnet_tf.build_regnet(variant, input_shape=shape, classifier_activation=None)
    randomize(model)
    return model


def randomize(model):
    """Sets a model's normalization variables and biases to random values.

    In a new network they have no effect, and some runtimes drop operations without effect.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    for variable in model.variables:
        kind = variable.path.rpartition("/")[2]
        if kind in _RANGES:
            variable.assign(rng.uniform(*_RANGES[kind], variable.shape))


def saved_models(model: Any, folder: Path) -> list[Contender]:
    """Writes and loads three SavedModels of a network, from normalized images to logits.

    Args:
        model: result of `make_model`.
        folder: a `Path`; each SavedModel is written to a folder with its name in it.
    """
    from regnet_tf._stock import stock_normalization

    from .network import Network

    variables = [variable.value for variable in model.variables]

    def call(images):
        return model(images, training=False)

    network = Network(model)
    traced = network.traced(None, network.size)
    with stock_normalization():
        stock = _saved_model(folder / KERAS, call, variables, network.size)
    return [
        stock,
        _saved_model(folder / UNFUSED, call, variables, network.size),
        _saved_model(
            folder / FUSED, lambda x: traced(x)["logits"], network.variables, network.size
        ),
    ]


def _saved_model(path, function, variables, size):
    """Writes a function that returns logits as a SavedModel, and loads it."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *size, 3), tf.float32, name="images")
    module = tf.Module()
    module.variables_ = variables
    signature = tf.function(
        lambda images: {"logits": function(images)}, input_signature=[spec], autograph=False
    )
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: signature})
    loaded = tf.saved_model.load(str(path))

    def run(images):
        return loaded.signatures[SIGNATURE](images=images)["logits"].numpy()

    return Contender(path.name, lambda images: tf.constant(normalized(images)), run)


def tflite_files(model: Any, calibration: Any, folder: Path, threads: int) -> list[Contender]:
    """Writes and loads the float32 and the int8 `.tflite` file of a network.

    Args:
        model: result of `make_model`.
        calibration: images with levels 0 to 255, uint8 `(count, size, size, 3)`.
        folder: a `Path` to write the files to.
        threads: number of threads to run them with.
    """
    from regnet_tf import Preprocessing
    from regnet_tf.runtimes import open_file

    from .examples import Examples
    from .network import Network
    from .source import Source
    from .tflite import write_tflite

    examples = Examples(calibration, calibration, None, "random levels")
    preprocessing = Preprocessing(image_size=calibration.shape[1])
    source = Source(model.name, model, preprocessing, (), examples)
    network = Network(model)
    contenders = []
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.tflite"
        write_tflite(path, network, source, precision, 1, "uint8", "1")
        run = open_file(path, threads)
        contenders.append(Contender(TFLITE.format(precision), lambda images: images, run, (1,)))
    return contenders


def peers(variant: str, model: Any, folder: Path, options: Any) -> list[Contender]:
    """Returns timm's network with a model's weights, in PyTorch and in ONNX Runtime.

    Args:
        variant: timm's name of the network.
        model: result of `make_model`.
        folder: a `Path` to write to.
        options: object with the attributes `timm` and `onnxruntime`, which select the peers, and
            `threads`.

    Raises:
        UserError: if timm does not have the network.
    """
    network = _timm_network(variant, model)
    found = [_timm(network, options.threads)] if options.timm else []
    if options.onnxruntime:
        found.append(_onnxruntime(network, model.input_shape[1], folder, options.threads))
    return found


def _timm_network(variant, model):
    from regnet_tf import to_state_dict
    from regnet_tf._errors import UserError
    from regnet_tf._torch import import_timm

    torch, timm = import_timm()
    if not timm.is_model(variant):
        raise UserError(f"timm has no {variant}; leave --timm and --onnxruntime out.")
    network = timm.create_model(variant).eval()
    weights = to_state_dict(model)
    network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return network


def _timm(network, threads):
    import torch

    torch.set_num_threads(threads)
    network = network.to(memory_format=torch.channels_last)

    def prepare(images):
        images = torch.from_numpy(normalized(images)).permute(0, 3, 1, 2)
        return images.contiguous(memory_format=torch.channels_last)

    def run(images):
        with torch.inference_mode():
            return network(images).numpy()

    return Contender(TIMM, prepare, run)


def _onnxruntime(network, size, folder, threads):
    """Exports an ONNX file for any batch size, as the SavedModels have, and loads it."""
    import numpy as np
    import onnxruntime
    import torch

    path = str(folder / "network.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about its own internals
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            path,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            verbose=False,
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def prepare(images):
        return np.ascontiguousarray(normalized(images).transpose(0, 3, 1, 2))

    return Contender(ONNX, prepare, lambda images: session.run(None, {"images": images})[0])


def import_peer(package):
    """Imports a package that only comparisons need; a `UserError` says what to install."""
    from regnet_tf._errors import UserError

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"The peers need the package `{package}`:"
            " pip install torch timm onnx onnxscript onnxruntime"
        ) from error


def normalized(images):
    """Normalizes images with levels 0 to 255, uint8 `(batch, size, size, 3)`."""
    import numpy as np

    from regnet_tf import Preprocessing

    return np.array(Preprocessing(image_size=images.shape[1]).normalize(images))
