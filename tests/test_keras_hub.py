"""Presets of KerasHub: its own checks, published logits and crops, and the way over its hub."""

import importlib.util
import json
import pathlib
import re
import shutil
import sys
import types

import golden_weights
import huggingface_hub
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TAG
from networks import with_statistics
from regnet_command import main

import regnet_tf
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet, fuse, load_image

hub_library = pytest.importorskip("keras_hub", reason="the extra `keras_hub` is not installed")

from regnet_tf.keras_hub import (  # noqa: E402
    RegNetBackbone,
    RegNetImageClassifier,
    RegNetImageClassifierPreprocessor,
    RegNetImageConverter,
    write_preset,
)

pytestmark = pytest.mark.keras_hub

GOLDEN = pathlib.Path(__file__).parent / "golden"
SPEC = json.loads((GOLDEN / "preprocess" / "preprocess.json").read_text())
CROPS = np.load(GOLDEN / "preprocess" / "crops.npz")
ROCKET_CROPS = [key for key in CROPS if key.startswith("rocket/") and key.endswith("/crop")]
CHELSEA_TENSORS = [key for key in CROPS if key.startswith("chelsea/") and key.endswith("/tensor")]
PHOTOS = {path.stem: path for path in (GOLDEN / "preprocess").glob("*.[jp][pn]g")}


GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "guides" / "keras_hub.md"


def config(stages):
    return RegNetConfig(
        explicit_stages=(StageConfig(16, 1, 8),) * stages,
        stem_width=8,
        se_ratio=0.25,
        drop_path_rate=0.1,
    )


CONFIG = config(stages=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 40, 56, 3), "uint8")
PREPROCESSING = Preprocessing(image_size=32, crop_fraction=0.9)


@pytest.fixture(scope="module")
def harness():
    """KerasHub's test case. Without the package grain, it lacks its check in a grain pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        has_grain = importlib.util.find_spec("grain") is not None
        if not has_grain:
            patch.setitem(sys.modules, "grain", types.ModuleType("grain"))
        test_case = pytest.importorskip("keras_hub.src.tests.test_case").TestCase
        if not has_grain:
            skip = {"run_grain_preprocessing_test": lambda *_: None}
            test_case = type("TestCase", (test_case,), skip)
        yield test_case()


@pytest.fixture(scope="module")
def network():
    """A tiny classifier with statistics, which outputs logits."""
    return with_statistics(
        build_regnet(
            CONFIG,
            class_names=["a", "b c", "d"],
            classifier_activation=None,
            preprocessing=PREPROCESSING,
        )
    )


@pytest.fixture(scope="module")
def logits(network):
    return network.predict(PREPROCESSING(IMAGES), verbose=0)


@pytest.fixture(scope="module")
def preset(network, tmp_path_factory):
    """The folder of the preset of `network`; not to be changed."""
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    write_preset(network, folder)
    return folder


def converter():
    return RegNetImageConverter.from_preprocessing(PREPROCESSING)


@pytest.mark.short_floats
def test_backbone_passes_kerashubs_checks(harness):
    harness.run_vision_backbone_test(
        cls=RegNetBackbone,
        init_kwargs={"config": config(stages=2).to_dict()},
        input_data=keras.ops.ones((2, 32, 32, 3)),
        expected_output_shape=(2, 4, 4, 16),
        expected_pyramid_output_keys=["P1", "P2", "P3"],
        expected_pyramid_image_sizes=[(16, 16), (8, 8), (4, 4)],
    )


# Of KerasHub's tasks and of its test case.
@pytest.mark.filterwarnings("ignore:The `check_types` argument is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called:UserWarning")
def test_classifier_passes_kerashubs_checks(harness):
    harness.run_task_test(
        cls=RegNetImageClassifier,
        init_kwargs={
            "backbone": RegNetBackbone(CONFIG, image_shape=(32, 32, 3)),
            "num_classes": 2,
            "preprocessor": RegNetImageClassifierPreprocessor(converter()),
        },
        train_data=(IMAGES, np.array([0, 1, 1, 0])),
        expected_output_shape=(4, 2),
    )


def test_preprocessing_passes_kerashubs_checks(harness):
    init_kwargs = converter().get_config()
    expected = PREPROCESSING(IMAGES)
    found = harness.run_preprocessing_layer_test(
        RegNetImageConverter, init_kwargs, IMAGES, return_output=True
    )
    np.testing.assert_array_equal(found, expected)
    found, labels = harness.run_preprocessing_layer_test(
        RegNetImageClassifierPreprocessor,
        {"image_converter": converter()},
        (IMAGES, np.arange(4)),
        return_output=True,
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(labels, np.arange(4))


def test_backbone_is_saved_by_keras(harness):
    harness.run_model_saving_test(RegNetBackbone, {"config": CONFIG}, np.ones((1, 32, 32, 3)))


@pytest.fixture(scope="session")
def state_dict():
    """The golden weights, as those of `TAG` in the pretended cache of the hub."""
    keys = json.loads((GOLDEN / "timm_regnetx_002.keys.json").read_text())
    return {name: golden_weights.fill(name, shape) for name, shape in keys["keys"]}


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_tag_gives_timms_logits(fresh, hub, tmp_path, run_python, capsys):
    """KerasHub's base class finds ours in the preset, with the published preprocessing."""
    folder = tmp_path / "preset"
    assert main(["weights", "convert", TAG, "--to", "keras_hub", str(folder)]) == 0
    assert capsys.readouterr().out == f"Written: {folder}\n"
    np.save(tmp_path / "batch.npy", golden_weights.input_batch())
    code = f"""
import sys
import numpy as np
import regnet_tf
assert {fresh} == ("keras_hub" not in sys.modules)
import keras_hub
import regnet_tf.keras_hub
model = keras_hub.models.ImageClassifier.from_preset({str(folder)!r})
photo = regnet_tf.load_image({str(PHOTOS["chelsea"])!r})[None]
prepared = regnet_tf.preprocessing_for({TAG!r})(photo)
np.testing.assert_array_equal(model.preprocessor(photo), prepared)
np.save({str(tmp_path / "logits.npy")!r}, model(np.load({str(tmp_path / "batch.npy")!r})))
"""
    if fresh:
        run_python("-c", code)
    else:
        exec(code)
    golden = np.load(GOLDEN / "timm_regnetx_002.npz")["logits"]
    assert np.abs(np.load(tmp_path / "logits.npy") - golden).max() <= 2e-5 * golden.std()
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "\nlicense: mit\n" in card
    assert "\nlibrary_name: keras-hub\n" in card and 'ImageClassifier.from_preset("preset")' in card
    assert "facebookresearch/pycls" in card and "| pycls | 224 |" in card
    assert (folder / "labels.txt").read_text().split()[:2] == ["n01440764", "n01443537"]


def test_runs_are_converted(network, logits, tmp_path):
    folder, run = tmp_path / "preset", tmp_path / "run"
    run.mkdir()
    network.save(run / "model.keras")
    assert main(["weights", "convert", str(run), "--to", "keras_hub", str(folder)]) == 0
    classifier = hub_library.models.ImageClassifier.from_preset(str(folder))
    np.testing.assert_array_equal(classifier.predict(IMAGES, verbose=0), logits)
    assert (folder / "labels.txt").read_text() == "a\nb c\nd\n"
    assert "No licence is stated." in (folder / "README.md").read_text()


def test_networks_without_a_head_are_backbones(tmp_path):
    source, folder = tmp_path / "trunk.keras", tmp_path / "preset"
    trunk = build_regnet(CONFIG, include_top=False)
    trunk.save(source)
    assert main(["weights", "convert", str(source), "--to", "keras_hub", str(folder)]) == 0
    backbone = hub_library.models.Backbone.from_preset(str(folder))
    images = np.ones((1, 32, 32, 3), "float32")
    np.testing.assert_array_equal(backbone(images), trunk(images))
    assert "models.Backbone.from_preset" in (folder / "README.md").read_text()


def test_sources_that_do_not_tell_their_network(tmp_path, capsys):
    source = tmp_path / "a.npz"
    regnet_tf.write_state_dict(source, regnet_tf.to_state_dict(build_regnet(CONFIG, classes=3)))
    target = str(tmp_path / "preset")
    assert main(["weights", "convert", str(source), "--to", "keras_hub", target]) == 2
    assert "a.npz does not tell its network. Give --variant NAME.\n" in capsys.readouterr().err


def test_classifiers_without_a_preprocessor(tmp_path):
    network = build_regnet(CONFIG, input_shape=(32, 32, 3), classes=3, classifier_activation=None)
    write_preset(network, tmp_path)
    classifier = RegNetImageClassifier.from_preset(str(tmp_path))
    assert classifier.preprocessor is None
    images = np.ones((1, 32, 32, 3), "float32")
    np.testing.assert_array_equal(classifier(images), network(images))


def test_presets_round_trip(network, logits, preset, tmp_path):
    classifier = hub_library.models.ImageClassifier.from_preset(str(preset))
    assert isinstance(classifier, RegNetImageClassifier)
    np.testing.assert_array_equal(classifier.predict(IMAGES, verbose=0), logits)
    classifier.save_to_preset(str(tmp_path / "again"))
    again = RegNetImageClassifier.from_preset(str(tmp_path / "again"))
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), logits)
    classifier.backbone.save_to_preset(str(tmp_path / "backbone"))
    backbone = hub_library.models.Backbone.from_preset(str(tmp_path / "backbone"))
    assert backbone.config == CONFIG
    trunk = keras.Model(network.input, network.get_layer("stage_1").output)
    prepared = PREPROCESSING(IMAGES)
    np.testing.assert_array_equal(backbone(prepared), trunk(prepared))


@pytest.mark.parametrize(
    "changes",
    [
        {"preactivation": True, "shortcut": "average"},
        {"linear_output": True, "shortcut": "none", "final_width": 24, "stem_type": "tiered"},
        {"normalization": "evonorm", "activation": "silu", "stem_width": 16},
    ],
    ids=["V", "Z", "EvoNorm"],
)
def test_networks_with_other_layers(changes):
    changed = CONFIG.replace(**changes)
    network = with_statistics(build_regnet(changed, classes=3, classifier_activation=None))
    classifier = RegNetImageClassifier.from_network(network)
    images = PREPROCESSING(IMAGES)
    np.testing.assert_array_equal(classifier(images), network(images))
    assert RegNetBackbone.from_config(classifier.backbone.get_config()).config == changed


def test_parts_of_a_preset(preset, logits):
    preprocessor = hub_library.models.ImageClassifierPreprocessor.from_preset(str(preset))
    np.testing.assert_array_equal(preprocessor(IMAGES), PREPROCESSING(IMAGES))
    larger = hub_library.layers.ImageConverter.from_preset(str(preset), image_size=(64, 64))
    np.testing.assert_array_equal(larger(IMAGES), PREPROCESSING.replace(image_size=64)(IMAGES))
    options = {"preprocessor": preprocessor, "activation": "softmax"}
    classifier = hub_library.models.ImageClassifier.from_preset(str(preset), **options)
    probabilities = classifier(preprocessor(IMAGES))
    np.testing.assert_allclose(probabilities, keras.ops.softmax(logits), atol=1e-6)
    metadata = json.loads((preset / "metadata.json").read_text())
    assert metadata["tasks"] == ["ImageClassifier"]


@pytest.mark.short_floats
def test_fine_tuning_in_short_floats(preset):
    options = {"num_classes": 2, "dtype": "bfloat16"}
    classifier = hub_library.models.ImageClassifier.from_preset(str(preset), **options)
    stem = classifier.backbone.get_layer("stem")
    old = stem.get_weights()[0]
    classifier.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    classifier.fit(IMAGES, np.array([0, 1, 0, 1]), verbose=0)
    new = stem.get_weights()[0]
    assert new.dtype == "bfloat16" and (new != old).any()
    assert np.isfinite(new.astype("float32")).all()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A folder that stands for the repository user/tiny on the Hugging Face hub."""
    folder = tmp_path / "remote"

    def create_repo(repo_id, exist_ok):
        folder.mkdir(exist_ok=exist_ok)
        return types.SimpleNamespace(repo_id=repo_id)

    def download(repo_id, filename):
        if not (folder / filename).exists():
            raise huggingface_hub.errors.EntryNotFoundError(filename)
        return str(folder / filename)

    def upload_folder(repo_id, folder_path):
        shutil.copytree(folder_path, folder, dirs_exist_ok=True)

    for function in (
        create_repo,
        upload_folder,
        lambda repo_id, filename: (folder / filename).exists(),
        download,
    ):
        names = {"<lambda>": "file_exists", "download": "hf_hub_download"}
        name = names.get(function.__name__, function.__name__)
        monkeypatch.setattr(huggingface_hub, name, function)
    return folder


def test_presets_are_uploaded_and_loaded_by_name(remote, preset, logits, tmp_path):
    local = shutil.copytree(preset, tmp_path / "local")
    (local / "README.md").write_text("---\nlicense: mit\n---\n")
    remote.mkdir()
    shutil.copy(local / "README.md", remote)  # or KerasHub would write a card of its own
    hub_library.upload_preset("hf://user/tiny", str(local))
    assert sorted(path.name for path in local.iterdir()) == sorted(
        path.name for path in remote.iterdir()
    )
    assert "license: mit" in (remote / "README.md").read_text()
    classifier = hub_library.models.ImageClassifier.from_preset("hf://user/tiny")
    np.testing.assert_array_equal(classifier.predict(IMAGES, verbose=0), logits)


def test_kerashub_replaces_the_card_where_the_hub_has_none(remote, preset, tmp_path):
    """As the guide warns."""
    local = shutil.copytree(preset, tmp_path / "local")
    (local / "README.md").write_text("---\nlicense: mit\n---\n")
    hub_library.upload_preset("hf://user/tiny", str(local))
    assert "license: mit" not in (remote / "README.md").read_text()
    assert not (local / "README.md").exists()


def plain_converter(transform):
    """The converter of a golden transform, without normalization."""
    preprocessing = Preprocessing(**SPEC["transforms"][transform])
    plain = RegNetImageConverter.from_preprocessing(preprocessing)
    plain.scale = plain.offset = None
    return plain


@pytest.mark.parametrize("key", ROCKET_CROPS)
def test_crops_equal_those_of_timm_and_torchvision(key):
    name, transform, _ = key.split("/")
    crop = plain_converter(transform)(load_image(PHOTOS[name]))
    np.testing.assert_array_equal(crop, CROPS[key])


@pytest.mark.parametrize("key", CHELSEA_TENSORS)
def test_tensors_equal_those_of_timm_torchvision_and_pycls(key):
    name, transform, _ = key.split("/")
    preprocessing = Preprocessing(**SPEC["transforms"][transform])
    found = RegNetImageConverter.from_preprocessing(preprocessing)(load_image(PHOTOS[name]))
    np.testing.assert_allclose(found[::16, ::16], CROPS[key], atol=2e-6)


def test_converters_resize_as_a_preprocessing_with_a_size():
    for resize_size in range(224, 400):
        preprocessing = Preprocessing(image_size=224, resize_size=resize_size)
        fraction = RegNetImageConverter.from_preprocessing(preprocessing).crop_fraction
        assert Preprocessing(crop_fraction=fraction).shorter_side == resize_size


def test_images_of_other_kinds():
    expected = converter()(IMAGES)
    np.testing.assert_array_equal(converter()(IMAGES.astype("float64")), expected)
    np.testing.assert_array_equal(converter()(IMAGES[0]), expected[0])
    batches = tf.data.Dataset.from_tensor_slices(IMAGES).batch(4).map(converter())
    np.testing.assert_array_equal(batches.get_single_element(), expected)
    gray = Preprocessing(image_size=32, mean=(0.5,), std=(0.25,))
    found = RegNetImageConverter.from_preprocessing(gray)(IMAGES[..., :1])
    np.testing.assert_array_equal(found, gray(IMAGES[..., :1]))


def test_whole_images_are_resized_by_keras():
    options = {"image_size": (32, 48), "crop_to_aspect_ratio": False, "interpolation": "bicubic"}
    theirs = hub_library.layers.ImageConverter(antialias=True, **options)
    ours = RegNetImageConverter(**options)
    np.testing.assert_array_equal(ours(IMAGES), theirs(IMAGES))
    assert RegNetImageConverter(scale=2.0)(IMAGES).shape == IMAGES.shape


def test_crops_are_squares():
    with pytest.raises(ValueError, match="`image_size` must be a square where images are cropped"):
        RegNetImageConverter(image_size=(32, 48))
    later = converter()
    later.image_size = (32, 48)
    with pytest.raises(ValueError, match="`image_size` must be a square where images are cropped"):
        later(IMAGES)


def test_networks_that_are_no_classifiers(network):
    with pytest.raises(ValueError, match="a classifier made by `build_regnet`"):
        RegNetImageClassifier.from_network(build_regnet(CONFIG, include_top=False))
    with pytest.raises(ValueError, match="on layer 'stem' with a weight list of length 2"):
        RegNetImageClassifier.from_network(fuse(network))


def test_backbones_keep_size_stride_and_dtype():
    options = {"input_shape": (64, 64, 3), "output_stride": 8, "dtype": "mixed_float16"}
    network = build_regnet(config(stages=3), include_top=False, **options)
    backbone = RegNetBackbone.from_network(network)
    assert backbone.output_shape == network.output_shape == (None, 8, 8, 16)
    assert list(backbone.pyramid_outputs) == ["P1", "P2", "P3"]
    assert backbone.dtype_policy.name == "mixed_float16"
    again = RegNetBackbone.from_config(backbone.get_config())
    assert again.get_config() == backbone.get_config()


def test_the_guide_s_first_example(tmp_path, monkeypatch, capsys):
    """It prints what the guide shows, and draws a picture."""
    guide = GUIDE.read_text()
    (command,) = re.findall(r"```bash\nregnet (weights convert docs.*)\n```", guide)
    code, printed = re.search(r"```python\n(from.*?)```.*?```text\n(.*?)```", guide, re.S).groups()
    (tmp_path / "docs").symlink_to(GUIDE.parents[1])
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0
    assert capsys.readouterr().out == "Written: presets/clothes\n"
    exec(code, {})
    assert capsys.readouterr().out == printed
    assert load_image("bag.png").shape == (400, 900, 3)
