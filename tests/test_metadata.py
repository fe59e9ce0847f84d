"""Metadata of `.tflite` files: what stays, and what MediaPipe makes of it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.metadata import read_metadata, write_metadata
from regnet_tf import Preprocessing
from regnet_tf._errors import UserError
from regnet_tf._opening import _facts_of_files

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

SIZE = 16
LABELS = ["red, dark", "café", "青い blue"]
ARGUMENTS = {
    "name": "colours",
    "description": "Which colour fills the image; naïvely.",
    "labels": LABELS,
    "mean": 0.0,
    "std": 1.0,
    "version": "3",
    "license": "MIT",
    "author": "The painter",
}
COLOURS = [np.full((40, 30, 3), colour, "uint8") for colour in 255 * np.eye(3, dtype="uint8")]


def convert(function, batch=1, inside=tf.float32, **options):
    """The `.tflite` file of a function of images of levels; quantized for another `inside`."""
    spec = tf.TensorSpec([batch, SIZE, SIZE, 3])
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    if inside != tf.float32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: (
            [tf.image.resize(image[None].astype("float32"), (SIZE, SIZE))] for image in COLOURS
        )
        converter.inference_input_type = converter.inference_output_type = inside
    for name, value in options.items():
        setattr(converter, name, value)
    return converter.convert()


def classify(images):
    """Scores of three classes: which channel is the brightest."""
    kernel = tf.constant(np.eye(3, dtype="float32") * 4 / 255)
    return tf.nn.softmax(tf.reduce_mean(images, [1, 2]) @ kernel)


@pytest.fixture(scope="module")
def converted():
    """Kind -> the bytes of a file without metadata of ours."""
    float16 = tf.lite.TargetSpec(supported_types=[tf.float16])
    default = [tf.lite.Optimize.DEFAULT]
    return {
        "float32": convert(classify),
        "dynamic batch": convert(classify, batch=None),
        "dynamic range": convert(classify, optimizations=default),
        "float16": convert(classify, optimizations=default, target_spec=float16),
        "uint8": convert(classify, inside=tf.uint8),
        "int8": convert(classify, inside=tf.int8),
        "int8 inside": convert(
            classify,
            inside=tf.int8,
            inference_input_type=tf.float32,
            inference_output_type=tf.float32,
        ),
    }


KINDS = ["float32", "dynamic batch", "dynamic range", "float16", "uint8", "int8", "int8 inside"]
OPENED = [kind for kind in KINDS if kind != "int8"]


@pytest.fixture
def file(tmp_path, converted):
    """A function that writes one of them."""

    def write(kind="float32"):
        path = tmp_path / "model.tflite"
        path.write_bytes(converted[kind])
        return path

    return write


def run(path, image):
    """The raw output for an image of levels."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    interpreter.allocate_tensors()
    target = interpreter.get_input_details()[0]
    levels = tf.image.resize(image[None], (SIZE, SIZE)).numpy()
    levels = levels - 128 if target["dtype"] == np.int8 else levels
    interpreter.set_tensor(target["index"], levels.astype(target["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def plain(value):
    """An object of FlatBuffers as nested dicts and lists, to compare."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {name: plain(field) for name, field in vars(value).items()}
    return value


def unpack(content):
    return schema.ModelT.InitFromPackedBuf(content)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_stays(file, converted, kind):
    path = file(kind)
    before = [run(path, image) for image in COLOURS]
    write_metadata(path, **ARGUMENTS)
    for image, output in zip(COLOURS, before, strict=True):
        np.testing.assert_array_equal(run(path, image), output)

    old, new = (plain(unpack(content)) for content in (converted[kind], path.read_bytes()))
    assert path.read_bytes()[4:8] == b"TFL3"
    assert new["buffers"][:-1] == old["buffers"]
    assert new["metadata"][:-1] == old["metadata"]
    assert b"min_runtime_version" in [entry["name"] for entry in old["metadata"]]
    for rest in (old, new):
        del rest["buffers"], rest["metadata"]
    assert new == old
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_constants_lie_aligned(file):
    path = file()
    write_metadata(path, **ARGUMENTS)
    content = path.read_bytes()
    places = [
        buffer.data.__array_interface__["data"][0]
        - np.frombuffer(content, "uint8").__array_interface__["data"][0]
        for buffer in unpack(content).buffers
        if buffer.data is not None
    ]
    assert len(places) > 2
    assert not [place for place in places if place % 16]


def test_round_trip(file):
    path = file()
    given = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    write_metadata(path, **{**ARGUMENTS, **given})
    read = read_metadata(path)
    lowest = [-m / s for m, s in zip(given["mean"], given["std"], strict=True)]
    highest = [(255 - m) / s for m, s in zip(given["mean"], given["std"], strict=True)]
    for name, values in {**given, "min": lowest, "max": highest}.items():
        np.testing.assert_allclose(read.pop(name), values, rtol=1e-6)
    texts = {name: ARGUMENTS[name] for name in ("name", "description", "version", "labels")}
    assert read == {
        **texts,
        "license": "MIT",
        "author": "The painter",
        "min_parser_version": "1.0.0",
    }


def test_the_archive_behind_the_model(file):
    path = file()
    write_metadata(path, **ARGUMENTS)
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode().split("\n") == LABELS
    assert member.compress_type == zipfile.ZIP_STORED


def test_again_replaces(file, converted):
    path = file()
    write_metadata(path, **{**ARGUMENTS, "labels": ["a" * 5000, "b", "c"], "author": None})
    assert read_metadata(path)["author"] is None
    write_metadata(path, **ARGUMENTS)
    again = path.read_bytes()
    path.write_bytes(converted["float32"])
    write_metadata(path, **ARGUMENTS)
    assert path.read_bytes() == again


@pytest.mark.mediapipe
@pytest.mark.parametrize("kind", OPENED)
def test_mediapipe_names_the_class(file, kind):
    path = file(kind)
    write_metadata(path, **ARGUMENTS)
    for index, (image, label) in enumerate(zip(COLOURS, LABELS, strict=True)):
        categories = media_pipe(path, image)
        assert [c.category_name for c in categories] == [LABELS[c.index] for c in categories]
        assert (categories[0].category_name, categories[0].index) == (label, index)
        expected = run(path, image)[0] / (256 if kind == "uint8" else 1)
        scores = [c.score for c in sorted(categories, key=lambda c: c.index)]
        np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.mediapipe
def test_mediapipe_normalizes(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(lambda images: tf.reduce_mean(images, [1, 2])))
    write_metadata(path, **{**ARGUMENTS, "mean": [100] * 3, "std": [50] * 3})
    categories = media_pipe(path, np.full((16, 16, 3), [0, 100, 255], "uint8"))
    scores = [c.score for c in sorted(categories, key=lambda c: c.index)]
    np.testing.assert_allclose(scores, [-2, 0, 3.1], atol=1e-5)


@pytest.mark.mediapipe
def test_what_mediapipe_refuses(file):
    path = file("int8")
    write_metadata(path, **ARGUMENTS)
    with pytest.raises(ValueError, match="got INT8"):
        media_pipe(path, COLOURS[0])
    path = file()
    with pytest.raises(Exception, match="requires specifying NormalizationOptions"):
        media_pipe(path, COLOURS[0])
    write_metadata(path, **{**ARGUMENTS, "mean": [1, 2, 3], "std": [1, 1, 1]})
    with pytest.raises(NotImplementedError, match="Per-channel"):
        media_pipe(path, COLOURS[0])


def media_pipe(path, image):
    """The categories that MediaPipe's ImageClassifier finds, the best first."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    base = BaseOptions(model_asset_path=str(path), delegate=BaseOptions.Delegate.CPU)
    options = vision.ImageClassifierOptions(base_options=base)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        return classifier.classify(picture).classifications[0].categories


@pytest.mark.mediapipe
def test_mediapipes_schema_reads_the_same(file):
    theirs = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    path = file()
    write_metadata(path, **{**ARGUMENTS, "mean": [1, 2, 3], "std": [4, 5, 6]})
    model = unpack(path.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    packed = bytes(model.buffers[entry.buffer].data)
    assert theirs.ModelMetadata.ModelMetadataBufferHasIdentifier(packed, 0)
    read = theirs.ModelMetadataT.InitFromObj(theirs.ModelMetadata.GetRootAs(packed))
    for name in ("name", "description", "version", "license", "author"):
        assert getattr(read, name).decode() == ARGUMENTS[name]
    assert read.minParserVersion == b"1.0.0"
    (graph,) = read.subgraphMetadata
    (image,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert image.content.contentPropertiesType == theirs.ContentProperties.ImageProperties
    assert image.content.contentProperties.colorSpace == theirs.ColorSpaceType.RGB
    (unit,) = image.processUnits
    assert unit.optionsType == theirs.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([1, 2, 3], [4, 5, 6])
    np.testing.assert_allclose(image.stats.min, [-1 / 4, -2 / 5, -3 / 6])
    np.testing.assert_allclose(image.stats.max, [254 / 4, 253 / 5, 252 / 6], rtol=1e-6)
    (labels,) = scores.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == theirs.AssociatedFileType.TENSOR_AXIS_LABELS


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": LABELS[:2]}, "`labels` must be 3 names"),
        ({"labels": "abc"}, "`labels` must be a list"),
        ({"labels": ["a", " ", "c"]}, "none of them empty"),
        ({"labels": ["a", "b\nb", "c"]}, "one line each"),
        ({"labels": ["a", "b\r", "c"]}, "one line each"),
        ({"labels": ["a", 2, "c"]}, "one line each"),
        ({"mean": [1, 2], "std": [1, 2]}, "`mean` must be one number or 3"),
        ({"mean": float("nan")}, "`mean` must be a finite number"),
        ({"std": [1, 2, 3]}, "`std` must be as many numbers"),
        ({"std": 0}, "`std` must be a finite number above 0"),
    ],
)
def test_arguments(file, converted, change, message):
    path = file()
    with pytest.raises(ValueError, match=message):
        write_metadata(path, **{**ARGUMENTS, **change})
    assert path.read_bytes() == converted["float32"]


def test_other_files(tmp_path, file):
    path = tmp_path / "other.tflite"
    with pytest.raises(FileNotFoundError):
        read_metadata(path)
    for content in (b"", b"no model at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.tflite is not a \.tflite file"):
            write_metadata(path, **ARGUMENTS)
    path.write_bytes(convert(lambda images: tf.reduce_mean(images)))
    with pytest.raises(ValueError, match="not a classifier of images"):
        write_metadata(path, **ARGUMENTS)
    with pytest.raises(ValueError, match="has no metadata"):
        read_metadata(file())


def test_damaged_files(tmp_path, file):
    path = file()
    write_metadata(path, **ARGUMENTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"PK")])
    with pytest.raises(ValueError, match="is damaged"):
        read_metadata(path)
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="is damaged"):
        write_metadata(path, **ARGUMENTS)
    path.write_bytes(whole.replace(b"M001", b"M999"))
    with pytest.raises(ValueError, match="is damaged"):
        read_metadata(path)


FACTS = {
    "preprocessing": Preprocessing(image_size=SIZE).to_dict(),
    "class_names": ["a", "b"],
    "independent": False,
}


@pytest.mark.parametrize(
    "changes",
    [
        *({"class_names": names} for names in (["a"], ["a", 2], "ab", {"a": 1, "b": 2}, None)),
        *({"preprocessing": one} for one in (7, [], {"image_size": "x"}, {"image_size": 10**400})),
    ],
)
def test_damaged_facts(changes):
    def read(facts):
        return _facts_of_files({"facts.json": json.dumps(facts).encode()}, Path("net.tflite"), 2)

    assert read(FACTS)["class_names"] == ("a", "b")
    assert read({**FACTS, "class_names": []})["class_names"] is None
    with pytest.raises(UserError, match=r"^facts\.json of net\.tflite is damaged: ") as caught:
        read({**FACTS, **changes})
    assert str(caught.value).isprintable()


def test_names_of_other_programs():
    """They count if there is one for each class."""

    def read(content):
        return _facts_of_files({"labels.txt": content}, Path("net.tflite"), 2)["class_names"]

    assert read("ä\nb\n".encode()) == ("ä", "b") and read(b"a\nb\nc\n") is None
    with pytest.raises(UserError, match=r"labels\.txt of net\.tflite is damaged"):
        read(b"\xff\n")
