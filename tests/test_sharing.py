"""Folders that are shared on the Hugging Face hub, as timm, KerasHub and this library read them."""

import importlib.util
import json
import shutil
from unittest import mock

import huggingface_hub
import keras
import numpy as np
import pytest
from conftest import TAG, TESTS
from networks import with_statistics
from PIL import Image
from regnet_command.pushing import _beside
from regnet_command.weights import main

import regnet_tf
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet, facts_of
from regnet_tf._errors import UserError
from regnet_tf._opening import is_network, open_predictor
from regnet_tf._torch import import_timm
from regnet_tf._trained import load_trained
from regnet_tf.finding import config_of
from regnet_tf.sharing import folder as writing
from regnet_tf.sharing.folder import write_folder
from regnet_tf.sharing.timm_config import architecture_of, described, timm_config
from training.evaluation.jobs import jobs_of
from training.loop.directory import write_run
from training.recipes import get_recipe
from training.recipes.choosing import fitted_to_weights

CONFIG = RegNetConfig(
    name="mine",
    depth=5,
    initial_width=8,
    width_slope=8.5,
    width_multiplier=1.7,
    group_width=8,
    se_ratio=0.25,
    stem_width=16,
    activation="silu",
)
NAMES = ("ant", "bee", "cat", "dog", "eel")
PREPROCESSING = Preprocessing(
    image_size=64, resize_size=70, interpolation="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2,) * 3
)
NAME = "hf://someone/insects"
IMAGES = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype("float32")
#: A `config.json` as timm's authors write it for published weights.
PUBLISHED = {
    "architecture": "regnetx_002",
    "num_classes": 1000,
    "num_features": 368,
    "pretrained_cfg": {
        "tag": "pycls_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "stem.conv",
        "classifier": "head.fc",
    },
}


def network(config=CONFIG, **arguments):
    options = {"input_shape": (64, 64, 3), "classifier_activation": None, **arguments}
    return with_statistics(build_regnet(config, **options))


@pytest.fixture
def without_keras_hub(monkeypatch):
    """Its files take a second, and other tests read them."""
    monkeypatch.setattr(writing, "_write_preset", lambda *_: ({}, "left out"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder as `regnet train` leaves it, of a network that timm can express."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    model = network(class_names=NAMES, preprocessing=PREPROCESSING, classifier_activation="softmax")
    model.save(folder / "model.keras")
    facts = {
        "recipe": get_recipe("smoke").to_dict(),
        "data": {"name": "/home/someone/insects", "train_images": 800, "test_images": 200},
        "results": {"accuracy": 0.875, "macro_f1": 0.75, "test_images": 200, "notes": []},
        "versions": {"keras": "3.15"},
    }
    write_run(facts, folder)
    return folder


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    """The folder that is shared."""
    folder = tmp_path_factory.mktemp("shared") / "insects"
    write_folder(run, folder, licence="apache-2.0")
    return folder


@pytest.fixture(scope="module")
def scores(run):
    return np.asarray(keras.saving.load_model(run / "model.keras")(IMAGES))


@pytest.fixture(scope="module")
def timm():
    pytest.importorskip("torch")
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return import_timm()[1]


def logits_of_timm(timm, folder, images, **arguments):
    import torch

    model = timm.create_model(f"local-dir:{folder}", pretrained=True, **arguments).eval()
    with torch.inference_mode():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def assert_equal(found, expected):
    """Equal to 2e-5 of the spread, as published networks are."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.std(expected))


def test_timm_reads_the_folder(written, scores, timm):
    logits = logits_of_timm(timm, written, IMAGES)
    assert_equal(logits - logits.mean(1, keepdims=True), centered(np.log(scores)))
    model = timm.create_model(f"local-dir:{written}", pretrained=True, num_classes=3, in_chans=1)
    assert model.pretrained_cfg["label_names"] == list(NAMES)
    assert model.pretrained_cfg["license"] == "apache-2.0"


def centered(logits):
    return logits - logits.mean(1, keepdims=True)


def test_timm_prepares_images_alike(written, timm, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), "uint8")
    levels = levels.repeat(4, 0).repeat(3, 1)
    Image.fromarray(levels).save(tmp_path / "noise.png")
    model = timm.create_model(f"local-dir:{written}", pretrained=False)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    prepared = transform(Image.open(tmp_path / "noise.png")).numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(prepared, PREPROCESSING(tmp_path / "noise.png")[0], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"rounding": "torchvision", "group_width": 12}, {}),
        ({"bottleneck_ratio": 0.5, "se_ratio": 0.0, "activation": "gelu"}, {}),
        (
            {
                "normalization": "group",
                "initial_width": 16,
                "width_slope": 16,
                "width_multiplier": 1.8,
                "group_width": 16,
            },
            {},
        ),
        ({"activation": "hard_silu"}, {"input_shape": (64, 64, 1)}),
        ({"preactivation": True, "shortcut": "average"}, {}),
        (
            {
                "bottleneck_ratio": 4,
                "group_width": 4,
                "linear_output": True,
                "shortcut": "none",
                "final_width": 64,
            },
            {},
        ),
        ({"drop_path_rate": 0.1}, {"output_stride": 16}),
        ({}, {"include_top": False, "pooling": "avg"}),
    ],
    ids=["torchvision", "bottleneck", "group", "gray", "V", "Z", "dilated", "headless"],
)
def test_timm_builds_other_networks(changes, arguments, timm, without_keras_hub, tmp_path):
    if not arguments.get("include_top", True):
        arguments = {"classifier_activation": "softmax", **arguments}
    model = network(CONFIG.replace(**changes), classes=4, **arguments)
    model.save(tmp_path / "net.keras")
    written = write_folder(tmp_path / "net.keras", tmp_path / "shared")
    assert not [note for note in written.notes if note.startswith("timm")]
    images = IMAGES[..., : model.input_shape[-1]]
    found = logits_of_timm(timm, tmp_path / "shared", images)
    assert_equal(found, np.asarray(model(images)))


def test_named_networks_have_timms_names():
    assert architecture_of(regnet_tf.get_config("regnety_004")) == ("regnety_004", {})
    changed = regnet_tf.get_config("RegNetX-400MF-tv", drop_path_rate=0.2)
    assert architecture_of(changed) == ("regnetx_004_tv", {})
    for name in ("regnetz_005", "regnetz_c16", "regnetv_064"):
        assert architecture_of(regnet_tf.get_config(name)) == (name, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stem_stride": 1, "stride": 1}, "stem_stride=1, stride=1"),
        ({"depth": 3}, "3 stages instead of 4"),
        ({"activation": "leaky_relu"}, "activation='leaky_relu'"),
        ({"stem_type": "tiered"}, "stem_type='tiered'"),
        ({"quantum": 4, "initial_width": 12}, "quantum=4"),
        ({"bottleneck_ratio": 2, "group_width": 9}, "these widths, which it rounds"),
    ],
)
def test_what_timm_cannot_express(changes, reason):
    with pytest.raises(UserError, match=f"^timm cannot express [^\n]*{reason}[^\n]*$"):
        architecture_of(CONFIG.replace(**changes))


def test_explicit_stages_are_expressed_where_a_published_network_has_them():
    stages = regnet_tf.get_config("regnetx_002").stages
    assert architecture_of(RegNetConfig(explicit_stages=stages)) == ("regnetx_002", {})
    with pytest.raises(UserError, match="timm cannot express explicit_stages"):
        architecture_of(RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),) * 4))


def test_a_network_that_timm_cannot_express_is_shared_with_the_others(without_keras_hub, tmp_path):
    network(CONFIG.replace(stem_stride=1), class_names=NAMES).save(tmp_path / "net.keras")
    folder = tmp_path / "shared"
    written = write_folder(tmp_path / "net.keras", folder)
    assert written.notes[0].startswith("timm cannot express stem_stride=1; config.json names no")
    assert "The network does not know its preprocessing; ImageNet's was written." in written.notes
    content = json.loads((folder / "config.json").read_text())
    assert "architecture" not in content and content["num_classes"] == len(NAMES)
    card = (folder / "README.md").read_text()
    assert "timm.create_model" not in card and "regnet_tf.build_regnet" in card
    assert facts_of(load_trained(folder).model).class_names == NAMES


@pytest.mark.keras_hub
def test_networks_with_other_layers(tmp_path):
    pytest.importorskip("keras_hub")
    trunk = regnet_tf.backbone(CONFIG, input_shape=(64, 64, 3))
    nets = {
        "segmentation": regnet_tf.segmentation_model(trunk, 2, width=8, class_names=("no", "yes")),
        "inner": keras.Sequential([keras.Input((64, 64, 3)), network(), keras.layers.Dense(2)]),
    }
    for name, model in nets.items():
        model.save(tmp_path / f"{name}.keras")
        written = write_folder(tmp_path / f"{name}.keras", tmp_path / name)
        assert any(note.startswith("timm and KerasHub read stem") for note in written.notes)
        content = json.loads((tmp_path / name / "config.json").read_text())
        assert content["architecture"] == "regnety_002"
        assert ("registered_name" in content) == (name == "segmentation")
        assert load_trained(tmp_path / name).model.output_shape == model.output_shape
    card = (tmp_path / "segmentation" / "README.md").read_text()
    assert "segments images into 2 classes" in card and "`yes`" in card
    assert "models.Backbone.from_preset" in card and "build_regnet" not in card


def test_reading_a_folder_back(written, scores):
    assert is_network(written) and config_of(written) == CONFIG
    for model in (build_regnet(str(written), weights=True), open_predictor(written).model):
        np.testing.assert_allclose(model(IMAGES), scores, rtol=1e-5)
        assert facts_of(model)[:3] == (CONFIG, PREPROCESSING, NAMES)


def test_reading_a_folder_without_the_keras_file(written, scores, tmp_path):
    for name in ("model.safetensors", "config.json"):
        shutil.copy(written / name, tmp_path)
    assert is_network(tmp_path)
    model = load_trained(tmp_path).model
    np.testing.assert_allclose(model(IMAGES), scores, rtol=1e-5)
    facts = facts_of(model)
    assert facts.class_names == NAMES and facts.config.identity == CONFIG.identity
    assert facts.preprocessing.shorter_side == PREPROCESSING.shorter_side
    assert facts.preprocessing.mean == PREPROCESSING.mean


def test_reading_what_timms_authors_publish(state_dict, tmp_path):
    regnet_tf.write_state_dict(tmp_path / "model.safetensors", state_dict)
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    assert config_of(tmp_path) == regnet_tf.get_config("regnetx_002")
    facts = facts_of(build_regnet(str(tmp_path), weights=True))
    assert facts.class_names == regnet_tf.weights_info(TAG).class_names
    assert facts.preprocessing == regnet_tf.weights_info(TAG).preprocessing()


def test_a_config_that_tells_nothing(tmp_path):
    assert described(tmp_path) == (None, None, None)
    for content in ({}, {"architectures": ["RegNetForImageClassification"]}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert described(tmp_path) == (None, None, None)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50"}))
    assert described(tmp_path) == (None, None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrained_cfg": 3},
        {"pretrained_cfg": {"input_size": [3]}},
        {"pretrained_cfg": {**PUBLISHED["pretrained_cfg"], "std": [0, 0, 0]}},
        {"model_args": [1]},
        {"model_args": {"depth": -1}},
        {"label_names": ["one"]},
        {"label_names": [[1], [2]], "num_classes": 2},
    ],
)
def test_a_damaged_config_is_named(changes, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**PUBLISHED, **changes}))
    with pytest.raises(UserError, match=r"^[^\n]*config\.json is damaged[^\n]*$"):
        described(tmp_path)


def test_a_config_returns_the_same_network(tmp_path):
    for changes in ({}, {"rounding": "torchvision"}, {"se_ratio": 0.0, "activation": "hard_silu"}):
        config = CONFIG.replace(**changes)
        content, reason = timm_config(config, "stem.conv", 5, NAMES, PREPROCESSING, None)
        assert reason is None
        (tmp_path / "config.json").write_text(json.dumps(content))
        assert described(tmp_path).config.identity == config.identity


def test_a_damaged_run_is_named(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    content = json.loads((folder / "run.json").read_text())
    content["recipe"]["schedule"] = 3
    (folder / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"^[^\n]*run\.json is damaged[^\n]*$"):
        write_folder(folder, tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_licences(run, without_keras_hub, tmp_path):
    write_folder(run, tmp_path, licence="my-own-1.0")
    card = (tmp_path / "README.md").read_text()
    assert "license: other\nlicense_name: my-own-1.0\n" in card
    with pytest.raises(ValueError, match=r"`--licence` must be in lower case"):
        write_folder(run, tmp_path, licence="My own")


def test_published_weights_keep_their_licence(hub, without_keras_hub, tmp_path):
    folder = tmp_path / "shared"
    write_folder(TAG, folder)
    card = (folder / "README.md").read_text()
    assert (
        "license: mit\n" in card
        and f"published as `timm/{TAG}`" in card
        and "| ImageNet | timm | 224 | 68.76 |" in card
    )
    content = json.loads((folder / "config.json").read_text())
    assert content["architecture"] == "regnetx_002" and "model_args" not in content
    assert content["label_names"][0] == "n01440764"
    assert content["label_descriptions"]["n01440764"] == "tench"
    expected = {name: PUBLISHED["pretrained_cfg"][name] for name in ("crop_pct", "mean", "std")}
    assert expected.items() <= content["pretrained_cfg"].items()


def test_the_card(written):
    card = (written / "README.md").read_text()
    for part in (
        "license: apache-2.0",
        "87.50",
        "| data | insects |",
        "`eel`",
        "local-dir:insects",
    ):
        assert part in card, part
    assert "/home/someone" not in card


def blocks(folder, library):
    """The Python code of a model card for a library."""
    section = (folder / "README.md").read_text().split(f"### {library}\n")[1]
    return section.split("```python\n")[1].split("```")[0]


@pytest.fixture
def photo(written, tmp_path, monkeypatch):
    """The folder and a photograph, in the working directory."""
    shutil.copytree(written, tmp_path / "insects")
    Image.fromarray(np.full((80, 90, 3), 128, "uint8")).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


def test_code_of_the_card(written, photo, capsys):
    exec(blocks(written, "Keras"), {})
    assert "'bee'" in capsys.readouterr().out
    *lines, last = blocks(written, "regnet_tf").splitlines()
    assert last in blocks(written, "Keras")  # it takes seconds
    exec("\n".join(lines), {})


def test_code_of_the_card_for_timm(written, timm, photo, capsys):
    exec(blocks(written, "timm"), {})
    assert "tensor([[" in capsys.readouterr().out


@pytest.mark.keras_hub
def test_code_of_the_card_for_keras_hub(written, photo, capsys):
    pytest.importorskip("keras_hub")
    exec(blocks(written, "KerasHub"), {})
    assert "[[" in capsys.readouterr().out


@pytest.mark.keras_hub
def test_code_of_a_gray_network_s_card_for_keras_hub(photo, tmp_path, capsys):
    pytest.importorskip("keras_hub")
    preprocessing = PREPROCESSING.with_channels(1)
    gray = network(input_shape=(64, 64, 1), class_names=NAMES, preprocessing=preprocessing)
    gray.save(tmp_path / "gray.keras")
    write_folder(tmp_path / "gray.keras", tmp_path / "gray")
    exec(blocks(tmp_path / "gray", "KerasHub"), {})
    assert "[[" in capsys.readouterr().out


class FakeHub:
    """What the hub's client does; it finds in its cache what was uploaded.

    Attributes:
        api: stands in for the client; its methods take the same arguments.
        fails: what it raises, or None.
    """

    def __init__(self, cache):
        self.cache, self.files, self.private, self.fails = cache, set(), None, None
        self.api = mock.create_autospec(huggingface_hub.HfApi, instance=True)
        self.api.create_repo.side_effect = self.create_repo
        self.api.file_exists.side_effect = lambda repository, file: file in self.files
        self.api.upload_folder.side_effect = self.upload

    def create_repo(self, repository, private, exist_ok):
        assert exist_ok
        if self.fails:
            raise self.fails
        self.private = private

    def upload(self, repo_id, folder_path, ignore_patterns=None, commit_message=""):
        repository = self.cache / f"models--{repo_id.replace('/', '--')}"
        snapshot = repository / "snapshots" / ("1" * 40)
        ignore = shutil.ignore_patterns(*ignore_patterns or ())
        shutil.copytree(folder_path, snapshot, ignore=ignore, dirs_exist_ok=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text("1" * 40)
        self.files |= {file.name for file in snapshot.iterdir()}


@pytest.fixture
def fake(without_keras_hub, tmp_path, monkeypatch):
    """A `FakeHub`, to which somebody is logged in."""
    import huggingface_hub.constants

    fake = FakeHub(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda library_name: fake.api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "token")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return fake


def test_push_and_read_back(fake, run, scores, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "mine-hub"
    assert main(["push", str(run), NAME, "--folder", str(folder), "--private"]) == 0
    printed = capsys.readouterr().out
    assert str(folder / "model.keras") in printed and "No licence is stated" in printed
    assert "Uploaded: https://huggingface.co/someone/insects" in printed and fake.private
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert is_network(NAME)
    np.testing.assert_allclose(build_regnet(CONFIG, weights=NAME)(IMAGES), scores, rtol=1e-5)
    assert (config_of(NAME), load_trained(NAME).name) == (CONFIG, "insects")
    (tmp_path / "cache/models--someone--insects/snapshots" / ("1" * 40) / "model.keras").unlink()
    assert facts_of(load_trained(NAME).model).class_names == NAMES  # by timm's files


@pytest.mark.keras_hub
def test_keras_hub_reads_it_by_name(fake, written, monkeypatch):
    keras_hub = pytest.importorskip("keras_hub")
    fake.upload("someone/insects", written)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    classifier = keras_hub.models.ImageClassifier.from_preset(NAME)
    assert classifier.num_classes == len(NAMES)


def test_timm_reads_it_by_name(fake, written, timm, monkeypatch):
    fake.upload("someone/insects", written)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = timm.create_model("hf-hub:someone/insects", pretrained=True)
    assert model.num_classes == len(NAMES)


def test_fine_tuning_from_a_name(fake, written, monkeypatch):
    fake.upload("someone/insects", written, ["*.keras"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    recipe = fitted_to_weights(get_recipe("smoke"), NAME, {})
    assert recipe.network.config.identity == CONFIG.identity
    assert recipe.images.mean == PREPROCESSING.mean


def test_the_folder_is_beside_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("", "net.keras", TAG, "hf://someone/insects", str(tmp_path / "mine"))
    found = [str(_beside(name)) for name in names]
    beside = f"{tmp_path}-hub"
    assert found == [beside, "net-hub", f"{TAG}-hub", "insects-hub", str(tmp_path / "mine-hub")]


def test_a_card_on_the_hub_is_kept(fake, run, tmp_path, capsys):
    fake.files.add("README.md")
    assert main(["push", str(run), NAME, "--folder", str(tmp_path / "mine")]) == 0
    assert "The model card on the hub was kept" in capsys.readouterr().out
    assert not list(fake.cache.rglob("README.md")) and list(fake.cache.rglob("model.keras"))


def test_a_failed_upload_says_how_to_go_on(fake, run, tmp_path, capsys):
    fake.fails, folder = ConnectionError("no route"), tmp_path / "my net"
    assert main(["push", str(run), NAME, "--folder", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "(no route)" in error
    assert f"hf upload someone/insects '{folder}' ." in error
    assert config_of(folder) == CONFIG and (folder / "README.md").is_file()


def test_nothing_is_sent_offline(fake, run, tmp_path, monkeypatch, capsys):
    fake.fails = AssertionError("sent")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["push", str(run), NAME, "--folder", str(tmp_path / "mine")]) == 0
    assert "nothing was sent. To send it: hf upload someone/insects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((NAME,), "You are not logged in to the Hugging Face hub: run `hf auth login`"),
        (("hf://insects",), "is hf://user/name. Received: 'hf://insects'"),
        (("DIR", "--private"), "`--private` must be given with hf://user/name alone"),
        ((str(TESTS),), "holds other files, which would be shared. Name another folder"),
    ],
)
def test_errors_before_anything_is_written(
    words, message, fake, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert main(["push", str(run), *words]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_evaluation_takes_a_name():
    (job,) = jobs_of([NAME])
    assert (job.model, job.folder) == (NAME, "insects")


def test_names_that_cannot_be_read(hub, monkeypatch, caplog):
    with pytest.raises(UserError, match=r"is hf://user/name\. Received: 'hf://someone'"):
        build_regnet(CONFIG, weights="hf://someone")
    missing = r"^hf://someone/else is not in the cache and could not be downloaded [^\n]*$"
    with pytest.raises(OSError, match=missing):
        build_regnet(CONFIG, weights="hf://someone/else")

    def refused(*_):
        raise ConnectionError("no")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
    with pytest.raises(OSError, match=r"\(ConnectionError\).* `hf auth login`"):
        build_regnet("hf://someone/else")


def test_published_weights_by_their_name_on_the_hub(hub):
    """Their `config.json` is not in the cache, so the network must be named."""
    name = f"hf://timm/{TAG}"
    assert build_regnet("regnetx_002", weights=name).output_shape == (None, 1000)
    with pytest.raises(UserError, match="does not tell its network"):
        build_regnet(name, weights=True)
    with pytest.raises(UserError, match="needs a `variant`"):
        load_trained(name)
