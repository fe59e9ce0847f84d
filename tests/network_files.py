"""A small network of Keras, and its files in formats that Keras does not write by itself.

The project's own exporters have no part in them.
"""

import json
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from regnet_command import without_stderr

from regnet_tf import Preprocessing

SIZE, CLASSES, CHANNELS, FEATURES = 16, 5, 3, 6
NAMES = [f"class {number}" for number in range(CLASSES)]
PREPROCESSING = Preprocessing(image_size=SIZE, mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4))
#: Outputs of the files, in an order that is not the one of importance.
OUTPUTS = ("features", "logits", "probabilities")


def small_network(of_pixels=False, independent=False):
    """A model from normalized images of any size to probabilities: of images, or of pixels."""
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, CHANNELS), name="images")
    wide = keras.initializers.RandomNormal(stddev=0.5)
    x = keras.layers.Conv2D(
        FEATURES, 3, padding="same", activation="relu", kernel_initializer=wide, groups=3
    )(images)
    if not of_pixels:
        x = keras.layers.GlobalAveragePooling2D()(x)
    activation = "sigmoid" if independent else "softmax"
    scores = keras.layers.Dense(CLASSES, activation=activation, kernel_initializer=wide)(x)
    model = keras.Model(images, scores, name="small")
    model.layers[-1].bias.assign(np.linspace(-1, 1, CLASSES))
    return model


def facts_of(network, normalized=False):
    """Content of `facts.json` for a file of the network."""
    levels = PREPROCESSING.replace(mean=0, std=1 / 255)
    return {
        "preprocessing": (PREPROCESSING if normalized else levels).to_dict(),
        "class_names": NAMES,
        "independent": network.layers[-1].activation is keras.activations.sigmoid,
    }


def write_onnx(
    path,
    network,
    levels=True,
    channels_first=False,
    batch=None,
    size=SIZE,
    outputs=OUTPUTS,
    texts=True,
):
    """Writes a `.onnx` file.

    Args:
        path: a `Path`.
        network: result of `small_network`.
        levels: whether it takes uint8 and normalizes inside; else float32.
        channels_first: whether images and maps have their channels first.
        batch: fixed batch size, or None.
        size: fixed image size, or None.
        outputs: names of its outputs.
        texts: whether it has the texts of an export in its metadata.
    """
    convolution, *_, dense = (layer for layer in network.layers if layer.weights)
    of_pixels = len(network.output_shape) == 4
    kernel, matrix = (np.asarray(layer.kernel) for layer in (convolution, dense))
    scale, offset = _scale_and_offset()
    arrays = {
        "kernel": kernel.transpose(3, 2, 0, 1),
        "shift": np.asarray(convolution.bias),
        "matrix": matrix.T[..., None, None] if of_pixels else matrix,
        "bias": np.asarray(dense.bias),
        "scale": scale[:, None, None],
        "offset": offset[:, None, None],
    }
    nodes = [] if channels_first else [_node("Transpose", "images", "first", perm=[0, 3, 1, 2])]
    x = "images" if channels_first else "first"
    if levels:
        nodes += [_node("Cast", x, "float", to=TensorProto.FLOAT)]
        nodes += [_node("Mul", "float scale", "scaled"), _node("Add", "scaled offset", "normal")]
        x = "normal"
    nodes += [_node("Conv", f"{x} kernel shift", "maps", pads=[1] * 4, group=3)]
    nodes += [_node("Relu", "maps", "positive")]
    if of_pixels:
        last = "positive"
        nodes += [_node("Conv", "positive matrix bias", "scores")]
    else:
        last = "flat"
        nodes += [
            _node("GlobalAveragePool", "positive", "pooled"),
            _node("Flatten", "pooled", last),
        ]
        nodes += [_node("Gemm", "flat matrix bias", "scores")]
    if dense.activation is keras.activations.sigmoid:
        nodes += [_node("Sigmoid", "scores", "shares")]
    else:
        nodes += [_node("Softmax", "scores", "shares", axis=1)]
    sources = {"features": last, "logits": "scores", "probabilities": "shares"}
    widths = {"features": FEATURES, "logits": CLASSES, "probabilities": CLASSES}
    infos, kind = [], TensorProto.FLOAT
    for name in outputs:
        if of_pixels and not channels_first:
            nodes += [_node("Transpose", sources[name], name, perm=[0, 2, 3, 1])]
        else:
            nodes += [_node("Identity", sources[name], name)]
        sides = _layout(batch, size, widths[name], channels_first)
        sides = sides if of_pixels else [batch or "batch", widths[name]]
        infos.append(helper.make_tensor_value_info(name, kind, sides))
    shape = _layout(batch, size, CHANNELS, channels_first)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8 if levels else kind, shape)],
        infos,
        [numpy_helper.from_array(value.astype("float32"), name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if texts:
        for name, text in _texts(network, not levels).items():
            model.metadata_props.add(key=name, value=text)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_openvino(path, network, **options):
    """Writes an OpenVINO IR; its arguments are those of `write_onnx`."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        write_onnx(Path(folder, "net.onnx"), network, **options)
        model = openvino.Core().read_model(Path(folder, "net.onnx"))
    if options.get("texts", True):
        texts = _texts(network, not options.get("levels", True))
        model.set_rt_info(json.dumps(json.loads(texts["facts.json"])), ["regnet_tf", "facts.json"])
        model.set_rt_info(json.dumps(NAMES), ["regnet_tf", "labels.txt"])
    openvino.save_model(model, path, compress_to_fp16=False)


def write_saved_model(path, network, levels=True, batch=None, size=SIZE, texts=True):
    """Writes a SavedModel; its arguments are those of `write_onnx`."""

    def scores(images):
        images = PREPROCESSING.normalize(images) if levels else images
        return {"probabilities": network(images, training=False)}

    spec = tf.TensorSpec((batch, size, size, CHANNELS), tf.uint8 if levels else tf.float32)
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", scores, input_signature=[spec])
    archive.write_out(path, verbose=False)
    if texts:
        (path / "assets.extra").mkdir()
        for name, text in _texts(network, not levels).items():
            (path / "assets.extra" / name).write_text(text)


def write_tflite(path, network, levels=True, batch=None, size=SIZE, texts=True):
    """Writes a `.tflite` file; its arguments are those of `write_onnx`."""
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(Path(folder), network, levels, batch, size, texts=False)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    if texts:
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in _texts(network, not levels).items():
                archive.writestr(name, text)


WRITERS = {
    "saved_model": ("small", write_saved_model),
    "tflite": ("small.tflite", write_tflite),
    "onnx": ("small.onnx", write_onnx),
    "openvino": ("small.xml", write_openvino),
}


def write_file(form, folder, network, **options):
    """Writes the file of a format into a folder, and returns its path."""
    name, write = WRITERS[form]
    with without_stderr():
        write(folder / name, network, **options)
    return folder / name


def _texts(network, normalized):
    facts = json.dumps(facts_of(network, normalized), indent=2)
    return {"facts.json": facts, "labels.txt": "".join(f"{name}\n" for name in NAMES)}


def _scale_and_offset():
    mean, std = np.array(PREPROCESSING.mean), np.array(PREPROCESSING.std)
    return 1 / (255 * std), -mean / std


def _layout(batch, size, channels, channels_first):
    batch, height, width = batch or "batch", size or "height", size or "width"
    return [batch, *([channels, height, width] if channels_first else [height, width, channels])]


def _node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)
