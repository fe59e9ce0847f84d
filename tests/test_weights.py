"""The table of published weights, loading, and preparing images for them."""

import importlib.util
import itertools
import json
import logging
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from conftest import TAG
from networks import outputs_of

import regnet_tf
from regnet_tf import Preprocessing, build_regnet, list_weights, preprocessing_for, weights_info
from regnet_tf._torch import import_timm
from regnet_tf.class_names import imagenet_synsets
from regnet_tf.published import PUBLISHED_SETS, best_weights, download
from regnet_tf.variants import VARIANTS


def test_every_row_is_of_a_known_variant():
    tags = list_weights()
    assert len(tags) == 72
    for tag in tags:
        info = weights_info(tag)
        assert info.variant in VARIANTS
        assert info.hub_repository == f"timm/{tag}"
        assert isinstance(info.preprocessing(), Preprocessing)


@pytest.mark.torch
def test_rows_equal_timms_table():
    pytest.importorskip("torch", reason="timm needs it")
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    _, timm = import_timm()
    rows = {
        f"{name}.{tag}": config
        for module in (timm.models.regnet, timm.models.byobnet)
        for name, versions in module.default_cfgs.items()
        for tag, config in versions.cfgs.items()
        if name.startswith("regnet") and tag != "untrained"
    }
    assert set(rows) == set(list_weights())
    for tag, config in rows.items():
        info = weights_info(tag)
        assert info.classes == config.num_classes
        assert info.image_size == config.input_size[1]
        assert info.test_image_size == (config.test_input_size or config.input_size)[1]
        assert info.crop_fraction == config.crop_pct
        assert info.test_crop_fraction == (config.test_crop_pct or config.crop_pct)
        assert (info.interpolation, info.licence) == (config.interpolation, config.license)
        assert (info.mean, info.std) == (tuple(config.mean), tuple(config.std))


def test_accuracies_by_data_set():
    """Rows of timm's tables."""
    for tag, dataset, top1, top5 in (
        ("regnetz_040_h.ra3_in1k", "imagenet2012", 84.498, 97.006),
        ("regnetz_e8.ra3_in1k", "imagenet2012_real", 89.378, 98.459),
        ("regnetv_064.ra3_in1k", "imagenet_v2", 73.460, 91.600),
        ("regnety_1280.swag_ft_in1k", "imagenet_a", 83.907, 96.200),
        ("regnetz_c16_evos.ch_in1k", "imagenet_r", 44.143, 61.073),
        ("regnetx_002.pycls_in1k", "imagenet_sketch", 16.953, 32.241),
    ):
        best = weights_info(tag).best_accuracy(dataset)
        assert (best["source"], best["top1"], best["top5"]) == ("timm", top1, top5)
    assert weights_info("regnetz_d8.ra3_in1k").top1 == 84.042
    sets = {name: [] for name in PUBLISHED_SETS}
    for tag in list_weights():
        entries = weights_info(tag).published
        found = {entry["dataset"] for entry in entries}
        assert found in (set(), set(PUBLISHED_SETS))
        assert all(entry["top1"] < entry["top5"] < 100 for entry in entries)
        for name in found:
            sets[name].append(weights_info(tag).best_accuracy(name)["top1"])
    for easier, harder in itertools.pairwise(
        ("imagenet2012_real", "imagenet2012", "imagenet_v2", "imagenet_sketch")
    ):
        assert (np.array(sets[easier]) > np.array(sets[harder])).all()
    assert weights_info("regnety_320.seer").best_accuracy() is None


@pytest.mark.parametrize(
    ("variant", "tag"),
    [
        ("RegNetY-3.2GF", "regnety_032.ra_in1k"),
        ("regnety_160", "regnety_160.sw_in12k_ft_in1k"),  # SWAG is better by a hair, but not free
        ("regnety_320", "regnety_320.tv2_in1k"),
        ("regnetx_002", TAG),
        ("regnet_x_400mf", "regnetx_004_tv.tv2_in1k"),
    ],
)
def test_imagenet_means_the_best_free_weights(variant, tag):
    assert best_weights(variant) == tag


def test_variants_without_free_weights_say_so():
    with pytest.raises(ValueError, match=r"regnety_1280\.swag_ft_in1k.*no freely licensed"):
        best_weights("regnety_1280")


def test_unknown_tags_get_the_nearest():
    with pytest.raises(ValueError, match=r"Nearest: regnety_032\.ra_in1k"):
        weights_info("regnety_032.ra_in1")
    with pytest.raises(ValueError, match="must be a tag of published weights"):
        build_regnet("regnetx_002", weights="regnetx_002.pycls")
    with pytest.raises(ValueError, match=r"cannot be regnety_004\.tv2_in1k, which are weights"):
        build_regnet("regnetx_002", weights="regnety_004.tv2_in1k")


@pytest.mark.parametrize("weights", ["imagenet", True, TAG])
def test_loading_from_the_cache(hub, state_dict, weights):
    model = build_regnet("regnetx_002", weights=weights)
    assert model.name == TAG
    stem = state_dict["stem.conv.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.get_layer("stem").conv.kernel, stem)


def test_a_tag_as_name(hub):
    assert build_regnet(TAG, weights=True).name == TAG
    assert build_regnet(TAG).name == "RegNetX-200MF"  # the network without the weights


def test_published_weights_tell_what_they_need(hub):
    info = weights_info(TAG)
    config = regnet_tf.get_config("regnetx_002")
    facts = regnet_tf.facts_of(build_regnet(TAG, weights=True, name="mine"))
    assert facts[:3] == (config, info.preprocessing(), imagenet_synsets())
    other = regnet_tf.facts_of(build_regnet(TAG, weights=True, classes=3))
    assert other[:3] == (config, info.preprocessing(), None)
    backbone = regnet_tf.backbone(TAG, weights=True, preprocessing=Preprocessing(image_size=64))
    assert preprocessing_for(backbone) == Preprocessing(image_size=64)
    assert regnet_tf.facts_of(build_regnet(TAG))[:3] == (config, None, None)


def test_class_names_are_known_of_1000_classes():
    assert weights_info(TAG).class_names == imagenet_synsets()
    others = [weights_info(tag) for tag in list_weights() if weights_info(tag).classes != 1000]
    assert others and all(info.class_names is None for info in others)


def test_a_damaged_file_in_the_cache(hub):
    content = bytearray(hub.read_bytes())
    content[-1] ^= 1
    hub.write_bytes(content)
    with pytest.raises(OSError, match="is damaged: its SHA-256"):
        download(TAG)


@pytest.fixture
def copies(hub):
    """The file of `hub` itself, as the cache keeps it where it cannot link; and its SHA-256."""
    (link,) = (hub.parents[1] / "snapshots").glob("*/model.safetensors")
    link.unlink()
    return hub.rename(link), hub.name


@pytest.fixture
def asked(monkeypatch):
    """The requests to the hub; it answers with what `asked.answer` says, or fails."""

    class Asked(list):
        answer = None

        def __call__(self, url):
            self.append(url)
            if self.answer is None:
                raise ConnectionError("offline")
            return SimpleNamespace(etag=self.answer)

    asked = Asked()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", asked)
    return asked


def test_copies_in_the_cache_are_compared_with_the_hub(copies, asked):
    file, asked.answer = copies
    assert download(TAG) == download(TAG) == file
    commit = file.parent.name
    assert asked == [f"https://huggingface.co/timm/{TAG}/resolve/{commit}/model.safetensors"]
    asked.answer = None  # offline from now on
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(OSError, match=f"is damaged: its SHA-256 is .* states {copies[1]}"):
        download(TAG)


def test_copies_are_compared_with_the_clients_listing(copies, asked):
    file, sha256 = copies
    listing = file.parents[2] / "trees" / f"{file.parent.name}.json"
    listing.parent.mkdir()
    listing.write_text(json.dumps({"files": {file.name: {"lfs_sha256": sha256}}}))
    assert download(TAG) == file
    listing.write_text(json.dumps({"files": {file.name: {"lfs_sha256": "0" * 64}}}))
    with pytest.raises(OSError, match="is damaged: its SHA-256"):
        download(TAG)
    assert not asked
    listing.write_text("[" * 200_000)
    assert download(TAG) == file and len(asked) == 1  # offline: nothing states it


def test_offline_and_not_cached_says_where_to_put_the_file(hub):
    with pytest.raises(OSError, match=r"regnetx_004\.pycls_in1k.*weights='FOLDER"):
        build_regnet("regnetx_004", weights="imagenet")


def test_licences_that_are_not_free_are_announced(hub, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="not in the cache"):
        download("regnety_160.swag_ft_in1k")
    assert "cc-by-nc-4.0" in caplog.text


def test_files_as_weights(tmp_path, state_dict, caplog):
    path = tmp_path / "weights.npz"
    regnet_tf.write_state_dict(path, state_dict)
    assert build_regnet("regnetx_002", weights=str(path)).output_shape == (None, 1000)
    assert not caplog.text
    fewer = build_regnet("regnetx_002", weights=path, classes=37)
    assert fewer.output_shape == (None, 37)
    assert f"New head: 37 classes instead of the 1000 of {path}" in caplog.text
    without = build_regnet("regnetx_002", weights=path, include_top=False, pooling="avg")
    assert without.output_shape == (None, 368)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_keras_files_as_weights(tmp_path, suffix):
    model = build_regnet("regnetx_002", classes=5)
    path = tmp_path / f"model{suffix}"
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    other = build_regnet("regnetx_002", classes=5, weights=path)
    for ours, theirs in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_of_another_network_change_nothing(tmp_path, state_dict):
    path = tmp_path / "weights.npz"
    regnet_tf.write_state_dict(path, state_dict)
    with pytest.raises(ValueError, match="does not fit RegNetY-400MF; nothing was changed"):
        build_regnet("regnety_004", weights=path)


def test_weights_without_classifier(tmp_path, state_dict):
    path = tmp_path / "weights.npz"
    trunk = {name: value for name, value in state_dict.items() if not name.startswith("head")}
    regnet_tf.write_state_dict(path, trunk)
    with pytest.raises(ValueError, match="have no head: pass `include_top=False`"):
        build_regnet("regnetx_002", weights=path)
    assert build_regnet("regnetx_002", weights=path, classes=3).output_shape == (None, 3)


def test_preprocessing_of_tags_variants_and_models(hub):
    info = weights_info("regnety_032.ra_in1k")
    assert preprocessing_for("regnety_032.ra_in1k") == info.preprocessing()
    assert preprocessing_for("RegNetY-3.2GF") == info.preprocessing()
    assert (info.preprocessing().image_size, info.preprocessing().crop_fraction) == (288, 1.0)
    trained = info.preprocessing(test=False)
    assert (trained.image_size, trained.crop_fraction) == (224, 0.95)

    model = build_regnet(TAG, weights=True, input_shape=(192, 192, 3))
    assert preprocessing_for(model).image_size == 192
    with pytest.raises(ValueError, match="the model 'mine' without preprocessing"):
        preprocessing_for(build_regnet("regnetx_002", name="mine"))


def test_preprocessing_inside_the_model(hub):
    image = np.random.default_rng(0).integers(0, 256, (1, 300, 260, 3), dtype="uint8")
    outside = build_regnet(TAG, weights=True)
    inside = build_regnet(TAG, weights=True, include_preprocessing=True)
    assert inside.input.dtype == "uint8"
    expected = outputs_of(outside, preprocessing_for(outside)(image))
    levels = preprocessing_for(inside)(image)
    assert float(np.max(levels)) > 200  # as they are, 0 to 255
    got = inside.predict_on_batch(np.array(levels).astype("uint8"))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)
