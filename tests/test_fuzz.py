"""Random configurations and damaged files: they work, or they give the errors that are documented.

The examples are the same in every run. `FUZZ_EXAMPLES=500 python -m pytest tests/test_fuzz.py`
tries so many others of each kind.
"""

import dataclasses
import json
import os
import shutil
from decimal import Decimal
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from networks import with_statistics

import regnet_tf
from export import manifest
from export.checks import Checks
from export.formats import tflite
from export.formats.saved_model import write_saved_model
from export.network import Network
from export.report import read_artefacts
from export.source import Source, load_source
from regnet_tf import RegNetConfig, StageConfig, build_regnet, complexity, fuse, read_state_dict
from regnet_tf._errors import UserError
from regnet_tf.design_space import ANYNETX_A, REGNETX, fit_regnet, widths_of
from regnet_tf.layers import (
    ConvNorm,
    DropPath,
    Head,
    SqueezeExcite,
    Stage,
    Stem,
    XBlock,
    YBlock,
)
from regnet_tf.options import ACTIVATIONS
from regnet_tf.runtimes import open_file
from training.loop.checkpoints import Checkpoints, Progress
from training.recipes import RECIPES, Recipe
from training.recipes.recipe import FIELD_TYPES, PARTS
from training.sweep.network import result_of
from training.sweep.populations import read_populations
from training.sweep.results import claim, population_results
from training.sweep.running import tasks_of
from training.sweep.specification import Specification

SIZE = 32  # pixels of the images
FRAME = ("se_ratio", "stem_width", "stem_stride", "activation", "drop_path_rate")


def examples(quick):
    """So many in the tests' default run, always the same."""
    count = os.environ.get("FUZZ_EXAMPLES")
    return settings(
        max_examples=int(count or quick),
        derandomize=count is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# Networks.


@st.composite
def stage_configs(draw, widths=(8, 16, 24, 48)):
    """A stage of a small network."""
    width, ratio = draw(st.sampled_from(widths)), draw(st.sampled_from((0.5, 1.0, 2.0)))
    inner = round(width * ratio)
    group_width = draw(st.sampled_from([g for g in range(1, inner + 1) if inner % g == 0]))
    return StageConfig(width, draw(st.integers(1, 2)), group_width, draw(st.integers(1, 2)), ratio)


@st.composite
def shapes(draw):
    """Stages, given or generated."""
    if draw(st.booleans()):
        stages = st.lists(stage_configs(), min_size=1, max_size=3)
        return {"explicit_stages": tuple(draw(stages))}
    return {
        "depth": draw(st.integers(1, 4)),
        "initial_width": draw(st.sampled_from((8, 16, 24))),
        "width_slope": draw(st.floats(0, 20)),
        "width_multiplier": draw(st.floats(1.5, 3)),
        "group_width": draw(st.sampled_from((1, 8, 16))),
        "bottleneck_ratio": draw(st.sampled_from((0.25, 0.5, 1, 2))),
        "rounding": draw(st.sampled_from(("nearest", "torchvision"))),
        "stride": draw(st.integers(1, 2)),
    }


@st.composite
def configs(draw):
    """A small network."""
    return RegNetConfig(
        **draw(shapes()),
        se_ratio=draw(st.sampled_from((0.0, 0.25, 1.5))),
        stem_width=draw(st.sampled_from((4, 8, 16))),
        stem_stride=draw(st.integers(1, 2)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        drop_path_rate=draw(st.sampled_from((0.0, 0.3))),
    )


@examples(50)
@given(configs())
def test_configurations_are_kept(config):
    fields = json.loads(json.dumps(config.to_dict()))
    assert RegNetConfig.from_dict(fields) == config
    frame = {field: getattr(config, field) for field in FRAME}
    same = RegNetConfig(explicit_stages=config.stages, **frame)
    assert same.identity == config.identity
    assert config.total_depth == sum(stage.depth for stage in config.stages)
    costs = complexity(config, SIZE, classes=5), complexity(same, SIZE, classes=5)
    assert costs[0] == costs[1] and costs[0].parameters > 0


@examples(30)
@given(configs(), st.sampled_from((None, 8, 16)))
def test_fits_predict_widths_above_zero(config, group_width):
    fit = fit_regnet(widths_of(config), group_width=group_width)
    assert fit.error >= 0 and fit.depth == config.total_depth
    assert fit.config(group_width=8).total_depth == config.total_depth


@examples(4)
@given(configs(), st.sampled_from((8, 16, 32)))
def test_networks_run_and_are_saved(tmp_path_factory, config, output_stride):
    model = build_regnet(
        config, input_shape=(SIZE, SIZE, 3), classes=5, output_stride=output_stride
    )
    cost = complexity(config, SIZE, classes=5)
    assert model.count_params() == cost.parameters + cost.statistics
    images = np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    expected = np.asarray(with_statistics(model)(images))
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-5)
    folder = tmp_path_factory.mktemp("model")
    model.save(folder / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(folder / "model.keras")(images), expected)
    np.testing.assert_allclose(fuse(model)(images), expected, atol=1e-4)
    for suffix in (".npz", ".safetensors"):
        regnet_tf.write_state_dict(folder / f"state{suffix}", regnet_tf.to_state_dict(model))
        other = build_regnet(
            config,
            input_shape=(SIZE, SIZE, 3),
            classes=5,
            output_stride=output_stride,
            weights=folder / f"state{suffix}",
        )
        np.testing.assert_array_equal(other(images), expected)


@examples(2)
@given(configs())
def test_networks_are_exported(tmp_path_factory, config):
    model = build_regnet(config, input_shape=(SIZE, SIZE, 3), classes=5)
    with_statistics(model)
    preprocessing = regnet_tf.Preprocessing(image_size=SIZE)
    source = Source("fuzz", model, preprocessing, tuple("abcde"))
    network, folder = Network(model), tmp_path_factory.mktemp("export")
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype="uint8")
    expected = np.asarray(model(preprocessing.normalize(images)))
    tflite.write_tflite(folder / "x.tflite", network, source, "float32", 1, "float32", "1")
    write_saved_model(folder / "saved", network, preprocessing, source.labels)
    for run in (open_file(folder / "x.tflite"), open_file(folder / "saved")):
        np.testing.assert_allclose(run(images), expected, atol=1e-4)


# Wrong arguments.

NUMBERS = (
    *(10**9, 10**30, -(10**30), 10**400, 10**5000, 2**31, 2**63, -(2**63)),
    *(1e31, 1e300, 1e-300, -1e-45, 1 + 1e-15, 1 - 1e-12, 1.0, 2.0, 0.25),
    *(Fraction(1, 3), Fraction(8), Decimal("0.1"), Decimal("1e400"), Decimal("sNaN"), 1j, 8 + 0j),
    *(np.int8(8), np.int64(8), np.uint64(2**64 - 1), np.bool_(True), np.str_("relu")),
    *(
        np.float16(0.5),
        np.float32(0.5),
        np.float32("nan"),
        np.longdouble("1e400"),
        np.longdouble(2),
    ),
    *(np.complex64(1), np.datetime64(1, "s"), np.array(8), np.array([1, 2]), np.array([None])),
)
OTHERS = (
    *((), (1, 2), [], {}, {1: 2}, {"a"}, [[[[]]]], (0.5,) * 3, (1, [2]), [10**400], ("8", 8)),
    *(b"8", bytearray(8), "9" * 5000, "1e31", "nan", "\ud800", "a\nb", [0] * 10_000),
    *(range(1, 10**30), iter(()), int, len, Ellipsis, NotImplemented, object()),
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from(NUMBERS),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(OTHERS),
)
FIELDS = [field.name for field in dataclasses.fields(RegNetConfig)]
PREPROCESSING_FIELDS = [field.name for field in dataclasses.fields(regnet_tf.Preprocessing)]
STAGE_FIELDS = [field.name for field in dataclasses.fields(StageConfig)]


def check_refused(error):
    """It is one short line that tells what was received."""
    assert "Received: " in str(error) and "\n" not in str(error) and len(str(error)) < 2500


def check_refused_or_usable(make):
    """`make` raises a ValueError that says what it received, or gives a configuration to use."""
    try:
        config = make()
    except ValueError as error:
        check_refused(error)
        return
    assert RegNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert all(stage.width > 0 and stage.groups > 0 for stage in config.stages)
    cost = complexity(config, config.total_stride)
    assert cost.parameters > 0 and cost.flops > 0 and len(config.identity) == 12


@examples(100)
@given(
    st.sampled_from(regnet_tf.list_variants()),
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=2),
)
def test_wrong_fields(variant, changes):
    check_refused_or_usable(lambda: regnet_tf.get_config(variant).replace(**changes))


@examples(75)
@given(
    st.lists(
        st.dictionaries(st.sampled_from((*STAGE_FIELDS, "colour")), JUNK | st.just(8)), max_size=2
    )
)
def test_wrong_stages(stages):
    check_refused_or_usable(lambda: RegNetConfig(explicit_stages=stages))


@examples(50)
@given(st.sampled_from((ANYNETX_A, REGNETX)), st.data())
def test_wrong_design_spaces(space, data):
    fields = [field.name for field in dataclasses.fields(space)]
    changes = data.draw(st.dictionaries(st.sampled_from(fields), JUNK, min_size=1, max_size=2))
    try:
        changed = space.replace(**changes)
    except ValueError as error:
        check_refused(error)
    else:
        assert changed.total_stride > 0 and changed.size > 0
        assert all(len(law.values) for law in (changed._ratio_law, changed._group_law))


@examples(75)
@given(st.dictionaries(st.sampled_from(PREPROCESSING_FIELDS), JUNK, min_size=1, max_size=2))
def test_wrong_preprocessing(changes):
    try:
        made = regnet_tf.Preprocessing(**changes)
    except ValueError as error:
        check_refused(error)
    else:
        fields = json.loads(json.dumps(made.to_dict()))
        assert regnet_tf.Preprocessing.from_dict(fields) == made


RECIPE_FIELDS = sorted(FIELD_TYPES) + sorted(PARTS)


@examples(200)
@given(
    st.sampled_from(("smoke", "finetune", "timm_ra")),
    st.dictionaries(st.sampled_from(RECIPE_FIELDS), JUNK, min_size=1, max_size=2),
)
def test_wrong_recipes(name, changes):
    try:
        recipe = RECIPES[name].replace(changes)
    except ValueError as error:
        check_refused(error)
    else:
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


SPECIFICATION = {
    "name": "fuzz",
    "space": {"name": "RegNetX", "stages": 2},
    "count": 3,
    "seed": 0,
    "window": {"flops": [0, 1e12]},
    "recipe": {"name": "smoke", "images.size": 16},
}


@examples(100)
@given(st.sampled_from(("", *SPECIFICATION)), st.text(max_size=6) | st.just("flops"), JUNK)
def test_wrong_specifications(field, inner, value):
    changes = {field: value}
    if isinstance(SPECIFICATION.get(field), dict):
        changes = {field: {**SPECIFICATION[field], inner: value}}
    try:
        made = Specification.from_dict({**SPECIFICATION, **changes})
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        fields = json.loads(json.dumps(made.to_dict()))
        assert Specification.from_dict(fields).design_space == made.design_space


LAYERS = {
    ConvNorm: ("filters", "kernel_size", "stride", "groups", "dilation", "activation"),
    DropPath: ("rate",),
    Head: ("classes", "class_names"),
    SqueezeExcite: ("squeeze_width", "activation"),
    Stage: ("width", "depth", "group_width", "stride", "se_ratio", "drop_path_rates", "dilation"),
    Stem: ("width", "stride", "activation", "network", "preprocessing"),
    XBlock: ("width", "group_width", "stride", "bottleneck_ratio", "drop_path_rate", "dilation"),
    YBlock: ("width", "group_width", "se_ratio"),
}
RIGHT = {"filters": 8, "rate": 0.5, "classes": 3, "squeeze_width": 4, "width": 8, "group_width": 8}


@examples(75)
@given(st.sampled_from(sorted(LAYERS, key=str)), st.data())
def test_wrong_arguments_of_layers(kind, data):
    changes = data.draw(st.dictionaries(st.sampled_from(LAYERS[kind]), JUNK, min_size=1))
    fields = {name: RIGHT.get(name, 1) for name in LAYERS[kind][:1]} | changes
    for name in ("depth", "group_width"):
        if name in LAYERS[kind]:
            fields.setdefault(name, 1)
    try:
        layer = kind(**fields)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        assert saved["class_name"] == kind.__name__


ARGUMENTS = (
    *("input_shape", "pooling", "classes", "class_names", "output_stride", "dropout"),
    *("classifier_activation", "preprocessing", "drop_path_rate", "name"),
)


@examples(40)
@given(st.dictionaries(st.sampled_from((*ARGUMENTS, "weights")), JUNK, min_size=1, max_size=2))
def test_wrong_arguments_of_networks(changes):
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),), stem_width=8)
    try:
        model = build_regnet(config, **changes)
    except (ValueError, OSError) as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert model.outputs


# Damaged files.


@st.composite
def damages(draw):
    """A function that damages the content of a file: anywhere, or near its ends."""
    kind = draw(st.sampled_from(("flipped", "zeroed", "truncated", "emptied")))
    place = draw(st.floats(0, 1, exclude_max=True))
    region = draw(st.sampled_from(("whole", "start", "end")))
    bit = 1 << draw(st.integers(0, 7))

    def damage(content):
        near = min(300, len(content))
        first, length = {
            "whole": (0, len(content)),
            "start": (0, near),
            "end": (len(content) - near, near),
        }[region]
        at = first + int(place * length)
        if kind in ("emptied", "truncated"):
            return content[: 0 if kind == "emptied" else at]
        changed = bytearray(content)
        if kind == "flipped":
            changed[at] ^= bit
        else:
            changed[at : at + 16] = bytes(len(changed[at : at + 16]))
        return bytes(changed)

    return damage


@pytest.fixture(scope="module")
def tiny():
    """A configuration and its network of 3 classes."""
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),), stem_width=8)
    return config, build_regnet(config, input_shape=(SIZE, SIZE, 3), classes=3)


def write_weights(path, state_dict, compressed=False):
    """In the format that the path's ending says."""
    if path.suffix == ".pth":
        torch = pytest.importorskip("torch", reason="writes files of PyTorch")
        torch.save({name: torch.tensor(value) for name, value in state_dict.items()}, path)
    elif compressed:
        np.savez_compressed(path, **state_dict)
    else:
        regnet_tf.write_state_dict(path, state_dict)


@pytest.mark.parametrize(
    ("suffix", "compressed"),
    [
        (".npz", False),
        (".npz", True),
        (".safetensors", False),
        pytest.param(".pth", False, marks=pytest.mark.torch),
    ],
)
def test_damaged_weights(suffix, compressed, tiny, tmp_path):
    path = tmp_path / f"weights{suffix}"
    write_weights(path, regnet_tf.to_state_dict(tiny[1]), compressed)
    content = path.read_bytes()

    @examples(60)
    @given(damages())
    def check(damage):
        path.write_bytes(damage(content))
        try:
            state_dict = read_state_dict(path)
        except ValueError as error:
            assert path.name in str(error)
        else:  # the formats have no checksums for everything
            assert all(isinstance(array, np.ndarray) for array in state_dict.values())

    check()


def test_damaged_files_of_keras(tiny, tmp_path):
    config, model = tiny
    path = tmp_path / "model.keras"
    model.save(path)
    content = path.read_bytes()

    @examples(10)
    @given(damages())
    def check(damage):
        path.write_bytes(damage(content))
        try:
            build_regnet(config, input_shape=(SIZE, SIZE, 3), classes=3, weights=path)
        except ValueError as error:
            assert path.name in str(error)

    check()


@pytest.mark.parametrize("name", ["examples.npz", "model.keras"])
def test_damaged_runs(name, digits_run, tmp_path):
    folder = shutil.copytree(digits_run, tmp_path / "digits")
    content = (folder / name).read_bytes()

    @examples(5 if name == "model.keras" else 12)
    @given(damages())
    def check(damage):
        damaged = damage(content)
        assume(damaged != content)
        (folder / name).write_bytes(damaged)
        with pytest.raises(UserError, match=f"{name} is damaged or was replaced: its size or SHA"):
            load_source(folder)

    check()


@pytest.fixture(scope="module")
def population():
    return Specification.from_dict(
        {
            "name": "fuzz",
            "space": {"name": "RegNetX", "stages": 2, "depths": [2, 3], "stem_width": 8},
            "count": 3,
            "recipe": {"name": "smoke", "images.size": 16, "schedule.batch_size": 8},
        }
    )


@pytest.mark.parametrize("name", ["results.jsonl", "spec.json"])
def test_damaged_populations(name, population, tmp_path):
    claim(tmp_path, population)
    with population_results(tmp_path).writing() as append:
        for task in tasks_of(population):
            append(result_of(task, [0.5, 0.25], None, 1.0))
    content = (tmp_path / name).read_bytes()

    @examples(50)
    @given(damages())
    def check(damage):
        damaged = damage(content)
        (tmp_path / name).write_bytes(damaged)
        try:
            (found,) = read_populations([tmp_path])
        except ValueError as error:
            assert name in str(error) or "trained networks" in str(error)
        else:
            assert len(found) >= 2 and np.isfinite(found.errors).all() and found.parameters
            if name == "results.jsonl":  # whole lines at most are missing
                assert set(found.errors) == {0.25}

    check()


def test_damaged_manifest(tmp_path):
    (tmp_path / "model.tflite").write_bytes(bytes(range(200)))
    manifest.write_manifest(tmp_path, ["model.tflite"])
    content = (tmp_path / manifest.FILE).read_bytes()
    assert manifest.faults(tmp_path) == []

    @examples(50)
    @given(damages())
    def check(damage):
        damaged = damage(content)
        assume(damaged != content)
        (tmp_path / manifest.FILE).write_bytes(damaged)
        try:
            assert manifest.faults(tmp_path) or json.loads(damaged) == json.loads(content)
        except ValueError as error:
            assert manifest.FILE in str(error)

    check()


def test_damaged_exported_files(tmp_path):
    """Whatever happens to a file, the manifest tells."""
    path, content = tmp_path / "model.tflite", bytes(range(200))
    path.write_bytes(content)
    manifest.write_manifest(tmp_path, [path.name])

    @examples(50)
    @given(damages())
    def check(damage):
        path.write_bytes(damage(content))
        assert bool(manifest.faults(tmp_path)) == (path.read_bytes() != content)

    check()


def test_damaged_reports(tmp_path):
    path = tmp_path / "report.json"
    entry = {"path": "tflite/a.tflite", "max_difference": 0.1, "top1_agreement": 99.0}
    content = json.dumps({"name": "a", "artefacts": {"int8": entry, "float32": entry}}).encode()

    @examples(50)
    @given(damages())
    def check(damage):
        path.write_bytes(damage(content))
        try:
            found = read_artefacts(path)
        except ValueError as error:
            assert path.name in str(error) and str(error).isprintable()
        else:
            assert all(isinstance(one["path"], str) for one in found.values())

    check()


def test_damaged_checks(tmp_path):
    path, rng = tmp_path / "checks.npz", np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, 4, 3), "uint8")
    expected = np.full((3, 2), 0.5, "float32")
    flags = {"classifier": True, "multi_label": False, "short_floats": False}
    Checks(images, np.arange(3), expected, [b"ab"], expected[:1], origin="here", **flags).write(
        path
    )
    content = path.read_bytes()

    @examples(50)
    @given(damages())
    def check(damage):
        path.write_bytes(damage(content))
        try:
            found = Checks.read(path)
        except ValueError as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert "accuracy" in found.compare(lambda images: expected[: len(images)])

    check()


def test_damaged_checkpoints(tmp_path):
    variable = keras.Variable(np.arange(200, dtype="float32"))
    checkpoints = Checkpoints(tmp_path, lambda: {"network/kernel": variable})
    for step in (1, 2):
        variable.assign(np.full(200, step))
        newest = checkpoints.save(Progress(step=step))
    content = newest.read_bytes()

    @examples(80)
    @given(damages())
    def check(damage):
        newest.write_bytes(damage(content))
        said = []
        progress = checkpoints.restore(said.append)
        assert (progress.step, bool(said)) in ((2, False), (1, True))
        assert (np.asarray(variable) == progress.step).all()

    check()
