"""Networks that know parts of photographs, and their exported files."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import PIL.Image
import tensorflow as tf
from sklearn.datasets import load_sample_images

import regnet_tf
from export.examples import Examples
from export.formats import PRECISIONS, tflite
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing

#: Rows and columns of parts of a photograph; every part is a class.
_GRID = 2, 3
_PHOTOGRAPHS = 2
PARTS = _PHOTOGRAPHS * _GRID[0] * _GRID[1]


class Exported(NamedTuple):
    """A network's files, photographs, and the Keras model's answers.

    Attributes:
        files: dict: kind -> `Path`.
        images: photographs, uint8 `(count, size, size, 3)`; also as "0.png", "1.png", ... next to
            the files.
        outputs: dict: "probabilities", and "features" of a classifier -> float32 `(count, ...)`.
        labels: names of the classes.
    """

    files: dict[str, Path]
    images: np.ndarray
    outputs: dict[str, np.ndarray]
    labels: tuple[str, ...]


def photographs(size, count, seed):
    """Returns `count` random crops of each part, uint8 `(count * PARTS, size, size, 3)`."""
    rng, crops = np.random.default_rng(seed), []
    for photograph in load_sample_images().images:
        height, width = np.array(photograph.shape[:2]) // _GRID
        for row, column in np.ndindex(*_GRID):
            part = photograph[row * height :, column * width :][:height, : min(width, height)]
            for _ in range(count):
                side = rng.integers(int(0.7 * len(part)), min(part.shape[:2]))
                y, x = rng.integers(0, np.array(part.shape[:2]) - side)
                crop = PIL.Image.fromarray(part[y : y + side, x : x + side])
                crops.append(np.array(crop.resize((size, size), PIL.Image.Resampling.BICUBIC)))
    return np.stack(crops)


def classifier(config, size):
    """Returns a network whose head was fitted to the parts of the photographs.

    Args:
        config: a `RegNetConfig` or the name of a variant.
        size: height and width of the images.
    """
    keras.utils.set_random_seed(1)
    model = regnet_tf.build_regnet(config, input_shape=(size, size, 3), classes=PARTS)
    images = Preprocessing(image_size=size).normalize(photographs(size, 8, 1))
    _settle(model, images[::4])
    head = model.get_layer("head")
    features = keras.Model(model.input, head.input).predict(images, verbose=0)
    mean, scale = features.mean(0), features.std()
    centered = (features - mean) / scale
    targets = np.repeat(np.eye(PARTS), len(features) // PARTS, axis=0) - 1 / PARTS
    ridge = np.eye(len(features)) * 0.1 * features.shape[1]
    kernel = 20 / scale * centered.T @ np.linalg.solve(centered @ centered.T + ridge, targets)
    head.set_weights([kernel, -mean @ kernel])
    return model


def segmenter(config, size):
    """Returns a network of five classes of pixels, which knows the photographs' statistics."""
    keras.utils.set_random_seed(1)
    backbone = regnet_tf.backbone(config, outputs=(1, 2, 3), input_shape=(size, size, 3))
    model = regnet_tf.segmentation_model(backbone, 5, width=16)
    _settle(model, Preprocessing(image_size=size).normalize(photographs(size, 2, 1)))
    return model


def _settle(model, images):
    """Gives a model's normalization the statistics of images."""
    call = tf.function(lambda images: model(images, training=True), autograph=False)
    for _ in range(12):
        call(images)


def write(model, folder, kinds, images):
    """Writes files of a network and the photographs; returns an `Exported`.

    Args:
        model: result of `classifier` or `segmenter`.
        folder: a `Path` to write to.
        kinds: keys of `WRITERS`.
        images: uint8 `(count, size, size, 3)`.
    """
    size = images.shape[1]
    labels = tuple(f"class {number}" for number in range(model.output_shape[-1]))
    examples = Examples(photographs(size, 8, 3), images, None, "photographs")
    source = Source(model.name, model, Preprocessing(image_size=size), labels, examples)
    network, files = Network(model), {}
    for kind in kinds:
        suffix, writer = WRITERS[kind]
        files[kind] = folder / f"{model.name}_{kind.lower().replace(' ', '_')}{suffix}"
        writer(files[kind], network, source)
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / f"{number}.png")
    outputs = {"probabilities": model.output}
    if "features" in network.outputs:
        outputs["features"] = model.get_layer("head").input
    normalized = source.preprocessing.normalize(images)
    outputs = keras.Model(model.input, outputs).predict(normalized, verbose=0)
    return Exported(files, images, outputs, labels)


def _tflite(precision):
    def writer(path, network, source):
        tflite.write_tflite(path, network, source, precision, 1, "float32", "1")

    return ".tflite", writer


def _onnx(precision):
    def writer(path, network, source):
        from export.formats.onnx import write_onnx

        write_onnx(path, network, source, precision)

    return ".onnx", writer


#: Kind of file -> suffix and function that writes it.
WRITERS = {
    **{f"TFLite {precision}": _tflite(precision) for precision in PRECISIONS},
    "TFLite features": (
        ".tflite",
        lambda path, network, source: tflite.write_embedder(path, network, source, 1),
    ),
    **{f"ONNX {precision}": _onnx(precision) for precision in ("float32", "int8")},
}
