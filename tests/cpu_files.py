"""Worker of `test_cpus.py`: what leaves the project, written and described under one regime.

`python cpu_files.py FOLDER` writes SavedModels and `.tflite` files, and `described.json`: which
operations each file has, and how many. `python cpu_files.py FOLDER OTHER` prints how far the
SavedModels of OTHER are, here, from what they gave where they were written.
"""

import collections
import json
import pathlib
import sys

import keras
import numpy as np
import onnx
import openvino
import tensorflow as tf

import regnet_tf
from export.examples import Examples
from export.flatbuffer import read_model, schema
from export.formats import tflite
from export.formats.onnx import write_onnx
from export.formats.openvino import write_openvino
from export.formats.saved_model import write_saved_model
from export.graph import read_graph
from export.network import Network
from export.source import Source
from regnet_tf._cpu import onednn

SIZE = 32
STAGES = (regnet_tf.StageConfig(16, 1, 8), regnet_tf.StageConfig(32, 2, 8))
Y = regnet_tf.RegNetConfig(name="y", explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
PREPROCESSING = regnet_tf.Preprocessing(image_size=SIZE)
LEVELS = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), "uint8")


def networks():
    """Name -> model: a classifier, and a segmentation network on a dilated backbone."""
    shape = {"input_shape": (SIZE, SIZE, 3)}
    dilated = regnet_tf.backbone(Y, outputs=(1, 2, 3), output_stride=8, **shape)
    return {
        "y": regnet_tf.build_regnet(Y, classes=3, **shape),
        "segmentation": regnet_tf.segmentation_model(dilated, classes=3),
    }


def prepared(model):
    """The same weights everywhere, and statistics that are not those of a new network."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        kind = variable.path.rpartition("/")[2]
        if kind != "seed_generator_state":
            low = 0.5 if kind in ("gamma", "moving_variance") else -0.2
            variable.assign(rng.uniform(low, low + 0.4, variable.shape))
    return model


def write(folder):
    described = {}
    for name, model in networks().items():
        model = prepared(model)
        labels = ("a", "b", "c")
        source = Source(name, model, PREPROCESSING, labels, Examples(LEVELS, LEVELS, None, "noise"))
        network = Network(model)
        served = folder / f"{name}.served"
        write_saved_model(served, network, PREPROCESSING, labels)
        model.export(str(folder / f"{name}.keras_export"), verbose=False)
        model(PREPROCESSING.normalize(LEVELS))  # Keras writes ONNX of what has been called
        for kind, (suffix, describe) in OF_KERAS.items():
            path = folder / f"{name}.keras.{suffix}"
            model.export(str(path), format=kind, verbose=False)
            described[path.name] = describe(path)
        for kind in ("served", "keras_export"):
            described[f"{name}.{kind}"] = of_saved_model(folder / f"{name}.{kind}")
        for kind, (write, suffix) in WITHOUT_TENSORFLOW.items():
            path = folder / f"{name}.{kind}.{suffix}"
            write(path, network, source, "float32")
            described[path.name] = OF_KERAS[kind][1](path)
        for precision in ("float32", "int8"):  # the others change the weights of the first alone
            path = folder / f"{name}.{precision}.tflite"
            tflite.write_tflite(path, network, source, precision, 1, "float32", "1")
            described[path.name] = of_tflite(path)
    np.savez(folder / "answers.npz", **{path.name: answer(path) for path in saved_models(folder)})
    (folder / "described.json").write_text(json.dumps({"onednn": onednn(), "files": described}))


def of_saved_model(path):
    """Operations and how many, in functions and outside."""
    counts = collections.Counter()
    for meta_graph in read_graph(path).meta_graphs:
        nodes = [*meta_graph.graph_def.node]
        for function in meta_graph.graph_def.library.function:
            nodes += function.node_def
        counts.update(node.op for node in nodes)
    return dict(sorted(counts.items()))


def of_tflite(path):
    model, names = read_model(path.read_bytes(), path.name), schema().BuiltinOperator
    names = {value: name for name, value in vars(names).items() if name.isupper()}
    (graph,) = model.subgraphs
    codes = [names[one.builtinCode] for one in model.operatorCodes]
    counts = collections.Counter(codes[one.opcodeIndex] for one in graph.operators)
    return dict(sorted(counts.items()))


def of_onnx(path):
    counts = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
    return dict(sorted(counts.items()))


def of_openvino(path):
    operations = openvino.Core().read_model(path).get_ops()
    return dict(sorted(collections.Counter(one.get_type_name() for one in operations).items()))


# Formats of Keras' `model.export` beside the SavedModel -> suffix, and what describes the file.
OF_KERAS = {
    "litert": ("tflite", of_tflite),
    "onnx": ("onnx", of_onnx),
    "openvino": ("xml", of_openvino),
}


#: Formats of an export that TensorFlow does not run -> what writes them, suffix.
WITHOUT_TENSORFLOW = {"onnx": (write_onnx, "onnx"), "openvino": (write_openvino, "xml")}


def saved_models(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir())


def answer(path):
    loaded = tf.saved_model.load(str(path))
    if path.suffix == ".served":
        outputs = loaded.signatures["logits"](images=tf.constant(LEVELS))
        return np.asarray(outputs["logits"])
    return np.asarray(loaded.serve(tf.constant(PREPROCESSING.normalize(LEVELS))))


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    place, *other = map(pathlib.Path, sys.argv[1:])
    if other:
        expected = np.load(other[0] / "answers.npz")
        far = [
            np.abs(answer(path) - expected[path.name]).max() / np.abs(expected[path.name]).max()
            for path in saved_models(other[0])
        ]
        print(max(map(float, far)))
    else:
        write(place)
