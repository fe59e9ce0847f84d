"""Whole networks: arguments, published logits, saving, mixed precision, XLA."""

import contextlib
import json
import pathlib
import re

import golden_weights
import keras
import numpy as np
import pytest
import tensorflow as tf

import regnet_tf
from regnet_tf import RegNetConfig, StageConfig, build_regnet, complexity, get_config

GOLDEN = pathlib.Path(__file__).parent / "golden"

# Stages of 8 and 16 channels with one and two blocks; total stride 8.
TINY = RegNetConfig(
    name="tiny",
    depth=3,
    initial_width=8,
    width_slope=8.0,
    width_multiplier=2.5,
    group_width=4,
    se_ratio=0.25,
    stem_width=8,
)
ONE_STAGE = RegNetConfig(
    explicit_stages=(StageConfig(8, 2, 4),),
    se_ratio=0.5,
    stem_width=8,
    activation="silu",  # no dead units: every variable has a gradient
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def tiny(config=TINY, **arguments):
    return build_regnet(config, **{"classes": 5, **arguments})


# Published networks: timm's logits from weights that anyone can draw from their names.

TIMM_TO_OURS = (
    (r"^stem\.(conv|bn)", r"stem.conv.\1"),
    (r"^s(\d)\.b(\d+)", r"stage_\1.block_\2"),
    (r"\.conv(\d)", r".conv_\1"),
    (r"\.downsample", ".shortcut"),
    (r"\.fc1", ".reduce"),
    (r"\.fc2", ".expand"),
    (r"\.bn\.weight", ".norm.gamma"),
    (r"\.bn\.bias", ".norm.beta"),
    (r"\.bn\.running_mean", ".norm.moving_mean"),
    (r"\.bn\.running_var", ".norm.moving_variance"),
    (r"(\.conv|\.fc)?\.weight$", ".kernel"),
    (r"^head\.fc", "head"),
    (r"\.", "/"),
)


def our_path(name):
    """timm's `s2.b1.conv1.bn.weight` -> `stage_2/block_1/conv_1/norm/gamma`."""
    for pattern, replacement in TIMM_TO_OURS:
        name = re.sub(pattern, replacement, name)
    return name


def our_array(path, array):
    """PyTorch's (out, in, rows, columns) -> (rows, columns, in, out); a gate has matrices."""
    array = array.T if array.ndim < 4 else array.transpose(2, 3, 1, 0)
    return array[0, 0] if "/se/" in path and array.ndim == 4 else array


def golden_network(name):
    """A variant with golden weights; its outputs are those of stem and stages, then the logits."""
    model = build_regnet(name, classifier_activation=None)
    variables = {variable.path: variable for variable in model.variables}
    golden_weights.self_check()
    for key, shape in json.loads((GOLDEN / f"timm_{name}.keys.json").read_text())["keys"]:
        if not key.endswith("num_batches_tracked"):
            path = our_path(key)
            variables.pop(path).assign(our_array(path, golden_weights.fill(key, shape)))
    assert not variables
    taps = [model.get_layer(layer) for layer in ("stem", *(f"stage_{n}" for n in range(1, 5)))]
    return keras.Model(model.input, [*(layer.output for layer in taps), model.output])


@pytest.mark.parametrize(
    "name, tolerance",
    [
        ("regnetx_002", 2e-5),
        ("regnety_004", 2e-5),
        ("regnetx_004_tv", 2e-5),
        ("regnety_040_sgn", 5e-5),
    ],
)
def test_logits_of_timm(name, tolerance):
    expected = np.load(GOLDEN / f"timm_{name}.npz")
    model = golden_network(name)
    for x, logits, tap in (
        (golden_weights.input_batch(), "logits", "tap"),
        (golden_weights.input_odd(), "logits_odd", "odd"),
    ):
        *features, found = (np.asarray(output) for output in model(x, training=False))
        assert np.abs(found - expected[logits]).max() <= tolerance * expected[logits].std()
        for number, feature in enumerate(features):
            batch, channels, height, width = expected[f"{tap}_shape"][number]
            assert feature.shape == (batch, height, width, channels)
            close = tolerance * expected[f"{tap}_std"][number]
            for found, row in (
                (feature.mean(), "mean"),
                (feature.std(), "std"),
                (feature[0, 0, 0, :8], "first"),
                (feature[0, -1, -1, :8], "last"),
            ):
                assert np.abs(found - expected[f"{tap}_{row}"][number]).max() <= 4 * close


def test_logits_of_timm_under_predict():
    """The same through a compiled graph, where normalization may be fused."""
    expected = np.load(GOLDEN / "timm_regnetx_002.npz")["logits"]
    found = golden_network("regnetx_002").predict(golden_weights.input_batch(), verbose=0)[-1]
    assert np.abs(found - expected).max() <= 2e-5 * expected.std()


# The functions.

FUNCTIONS = [
    f"RegNet{letter}{size}"
    for letter in "XY"
    for size in (
        "200MF", "400MF", "600MF", "800MF", "1_6GF", "3_2GF",
        "4_0GF", "6_4GF", "8_0GF", "12GF", "16GF", "32GF",
    )
]  # fmt: skip
FUNCTIONS += ["RegNetV4_0GF", "RegNetV6_4GF", "RegNetZ500MF", "RegNetZ4_0GF", "RegNetZ4_0GFh"]
FUNCTIONS += [f"RegNetZ{size}" for size in ("B16", "C16", "D8", "D32", "E8")]
FUNCTIONS += [f"RegNetZ{size}evos" for size in ("B16", "C16", "D8")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_names(name):
    function = getattr(regnet_tf, name)
    assert function.__name__ == name
    display = re.sub(r"(?<=RegNet)([V-Z])", r"\1-", name).replace("_", ".")
    display = re.sub(r"(h|evos)$", r"-\1", display)
    assert display in function.__doc__
    assert f"{complexity(name).parameters / 1e6:.1f} million parameters" in function.__doc__


@pytest.mark.parametrize("name", [*FUNCTIONS, "build_regnet", "backbone", "segmentation_model"])
def test_docstrings_tell_what_to_feed(name):
    text = " ".join(getattr(regnet_tf, name).__doc__.split())
    assert "Feed images scaled to 0 to 1 and normalized by mean and standard deviation" in text
    assert "`preprocess_input` and `preprocessing_for(model)`" in text
    assert re.search("include_preprocessing=True`, feed levels of 0 to 255", text)


@pytest.mark.parametrize("include", [False, True])
def test_the_range_that_docstrings_tell(include):
    """Levels for a network that normalizes, and numbers normalized by hand for the other one."""
    levels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    model = tiny(include_preprocessing=True)
    plain = tiny()
    plain.set_weights(model.get_weights())
    by_hand = (levels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    fed = regnet_tf.preprocess_input(levels) if include else by_hand
    np.testing.assert_allclose(model(levels), plain(fed.astype("float32")), atol=1e-5)


def test_there_are_no_other_functions():
    assert sorted(name for name in vars(regnet_tf) if re.match("RegNet[V-Z]", name)) == sorted(
        FUNCTIONS
    )


def test_functions_build(without_values):
    small = [name for name in FUNCTIONS if complexity(name).parameters < 8e6]
    assert len(small) == 9
    parts = ["images", "stem", "stage_1", "stage_2", "stage_3", "stage_4", "pool", "head"]
    with without_values():
        models = {name: getattr(regnet_tf, name)(classes=10) for name in small}
    for name, model in models.items():
        assert model.output_shape == (None, 10)
        names = [layer.name for layer in model.layers]
        assert [part for part in names if not part.startswith("final_")] == parts
        widths = [layer.output.shape[-1] for layer in model.layers[2:6]]
        assert widths == [stage.width for stage in get_config(name).stages]


def test_functions_take_keras_arguments_by_position():
    """In the order of `keras.applications`."""
    model = regnet_tf.RegNetX200MF(False, None, None, (64, 32, 1), "avg", 7, None, "net")
    assert (model.name, model.input_shape) == ("net", (None, 64, 32, 1))
    assert model.output_shape == (None, 368)


def test_functions_take_fields_of_the_configuration():
    model = regnet_tf.RegNetX200MF(stem_width=16, stem_stride=1, include_top=False)
    assert model.get_layer("stem").compute_output_shape((1, 8, 8, 3)) == (1, 8, 8, 16)


def test_any_name_is_taken(without_values):
    with without_values():
        model = build_regnet("regnet_x_400mf", classes=3, name="mine")
        bare = build_regnet("RegNetX-200MF", include_top=False)
    assert (model.name, model.get_layer("stage_4").output.shape[-1]) == ("mine", 400)
    assert (bare.name, bare.output_shape) == ("RegNetX-200MF", (None, None, None, 368))


# Arguments.


def test_classes_and_softmax():
    outputs = tiny(classes=7)(images(2, 32, 32, 3)).numpy()
    assert outputs.shape == (2, 7)
    assert (outputs > 0).all()
    np.testing.assert_allclose(outputs.sum(-1), 1, rtol=1e-5)


def with_weights_of(model, config=TINY, **arguments):
    again = tiny(config, **arguments)
    again.set_weights(model.get_weights())
    return again


def test_classifier_activation():
    x, model = images(2, 32, 32, 3), tiny()
    logits = with_weights_of(model, classifier_activation=None)(x).numpy()
    assert np.abs(logits.sum(-1) - 1).min() > 1e-3
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    np.testing.assert_allclose(model(x), probabilities, rtol=1e-5)
    gates = with_weights_of(model, classifier_activation="sigmoid")(x)
    np.testing.assert_allclose(gates, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_include_top_and_pooling():
    x = images(2, 64, 48, 3)
    bare = tiny(include_top=False)
    features = bare(x).numpy()
    assert features.shape == (2, 8, 6, 16)
    assert bare.output_shape == (None, None, None, 16)
    averages = with_weights_of(bare, include_top=False, pooling="avg")
    np.testing.assert_allclose(averages(x), features.mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert averages.output_shape == (None, 16)
    maxima = with_weights_of(bare, include_top=False, pooling="max")
    np.testing.assert_allclose(maxima(x), features.max((1, 2)), rtol=1e-5)


def test_classifier_stands_on_averages():
    x = images(2, 64, 48, 3)
    model = tiny(classifier_activation=None)
    bare = keras.Model(model.input, model.get_layer("stage_2").output)
    kernel, bias = model.get_layer("head").get_weights()
    bias += 1
    model.get_layer("head").set_weights([kernel, bias])
    expected = bare(x).numpy().mean((1, 2)) @ kernel + bias
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("size", [(None, None), (32, 32), (48, None)], ids=str)
def test_input_shape(size, channels):
    model = tiny(input_shape=(*size, channels))
    assert model.input_shape == (None, *size, channels)
    assert model(images(2, 48, 32, channels)[:, : size[0] or 48]).shape == (2, 5)
    assert model.get_layer("stem").conv.kernel.shape[2] == channels


def test_default_input_shape():
    assert tiny().input_shape == (None, None, None, 3)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (75, 101), (33, 64)], ids=str)
def test_sizes(size):
    model = tiny(include_top=False)
    expected = tuple(-(-side // 8) for side in size)
    assert model(images(1, *size, 3)).shape == (1, *expected, 16)
    assert tiny(input_shape=(*size, 3), include_top=False).output_shape == (None, *expected, 16)


def test_input_tensor():
    inputs = keras.Input((40, 32, 6))
    model = tiny(input_tensor=inputs)
    assert model.inputs == [inputs]
    assert model(images(2, 40, 32, 6)).shape == (2, 5)


def test_input_tensor_after_other_layers():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(2.0)(inputs)
    model = tiny(input_tensor=x, input_shape=(32, 32, 3))
    again = with_weights_of(model)
    y = images(2, 32, 32, 3)
    assert model.inputs == [inputs]
    np.testing.assert_allclose(model(y), again(2 * y), rtol=1e-5)


def test_name():
    assert tiny().name == "tiny"
    assert tiny(name="other").name == "other"


def test_total_stride_follows_the_configuration():
    config = RegNetConfig(
        explicit_stages=(StageConfig(8, 1, 8, stride=1), StageConfig(16, 2, 4)), stem_stride=1
    )
    model = build_regnet(config, include_top=False)
    assert model(images(1, 9, 6, 3)).shape == (1, 5, 3, 16)


@pytest.fixture
def channels_first():
    """A context in which Keras' setting of the data format is another."""

    @contextlib.contextmanager
    def context():
        keras.config.set_image_data_format("channels_first")
        yield
        keras.config.set_image_data_format("channels_last")

    yield context
    keras.config.set_image_data_format("channels_last")


WIDE = RegNetConfig(explicit_stages=(StageConfig(16, 1, 8), StageConfig(32, 1, 8)), stem_width=16)


def segmentation(decoder, **arguments):
    maps = regnet_tf.backbone(WIDE, outputs=(1, 2, 3), **arguments)
    return regnet_tf.segmentation_model(maps, 3, decoder=decoder, width=16)


@pytest.mark.parametrize(
    "build",
    [
        lambda: tiny(classifier_activation=None),
        lambda: tiny(include_top=False, pooling="max"),
        lambda: tiny(include_preprocessing=True, classifier_activation=None),
        lambda: tiny(WIDE.replace(normalization="group", se_ratio=0.25)),
        lambda: segmentation("fpn", include_preprocessing=True),
        lambda: segmentation("unet"),
    ],
)
def test_data_format_of_keras_does_not_count(build, channels_first, tmp_path):
    model, x = build(), images(2, 32, 32, 3) * 50
    model.save(tmp_path / "model.keras")
    expected = model(x)
    with channels_first():
        other = build()
        other.set_weights(model.get_weights())
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for one in (other, loaded, regnet_tf.fuse(other), keras.models.clone_model(other)):
            assert one.output_shape == model.output_shape
        for one in (other, loaded):
            np.testing.assert_allclose(one(x), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(regnet_tf.fuse(other)(x), expected, rtol=1e-3, atol=1e-4)


def test_dropout_before_the_head(tmp_path):
    """A feature is dropped with this probability; the others are divided by what is left."""
    model = tiny(dropout=0.25, classifier_activation=None)
    assert [layer.name for layer in model.layers[-3:]] == ["pool", "dropout", "head"]
    features = np.ones((1000, model.get_layer("pool").output.shape[-1]), "float32")
    dropped = np.array(model.get_layer("dropout")(features, training=True))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs((dropped == 0).mean() - 0.25) < 0.02

    plain, x = tiny(classifier_activation=None), images(2, 32, 32, 3)
    plain.set_weights(model.get_weights())
    expected = plain(x, training=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("dropout").rate == 0.25
    for one in (model, loaded, regnet_tf.fuse(model), keras.models.clone_model(model)):
        assert regnet_tf.facts_of(one) == regnet_tf.facts_of(plain)
    for one in (model, loaded):
        np.testing.assert_array_equal(one(x, training=False), expected)
    np.testing.assert_allclose(regnet_tf.fuse(model)(x), expected, rtol=1e-4, atol=1e-6)
    assert "dropout" not in [layer.name for layer in plain.layers]


def test_dropout_stands_only_before_a_head():
    with pytest.raises(ValueError, match="`dropout` must be 0 without the head"):
        tiny(dropout=0.1, include_top=False)


@pytest.mark.parametrize(
    "argument, value, allowed",
    [
        ("dropout", 1.0, "at least 0 and below 1"),
        ("dropout", -0.1, "at least 0 and below 1"),
        ("dropout", "half", "a finite number"),
        ("input_shape", (31, 64, 3), "at least 32 pixels a side, the network's total stride"),
        ("input_shape", (64, 31, 3), "at least 32 pixels a side, the network's total stride"),
        ("input_shape", 64, "height, width, channels"),
        ("input_shape", (64, 64), "height, width, channels"),
        ("input_shape", (64, 64, None), "height, width, channels"),
        ("input_shape", (64, 64, 0), "height, width, channels"),
        ("pooling", "mean", "'avg'.*'max'"),
        ("classes", 0, "at least 1"),
        ("classes", 10.0, "an integer"),
        ("classifier_activation", "softmix", "an activation"),
    ],
)
def test_errors(argument, value, allowed):
    message = f"`{argument}` must be .*{allowed}.*Received: {argument}={re.escape(repr(value))}"
    with pytest.raises(ValueError, match=message):
        regnet_tf.RegNetX200MF(**{argument: value})


def test_unknown_weights():
    with pytest.raises(ValueError, match=r"`weights` must be .*no such weights"):
        regnet_tf.RegNetX200MF(weights="no such weights")
    for misspelt in ("imagnet", "ImageNet"):
        with pytest.raises(ValueError, match=r"name or imagenet\. .*Nearest: imagenet\."):
            regnet_tf.RegNetX200MF(weights=misspelt)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("RegNetY002", "Nearest: RegNetY200MF$"),  # of keras.applications
        ("regnetx_1.6gf", "Nearest: RegNetX1_6GF$"),
        ("RegNetY401MF", "Nearest: RegNetY4"),
        ("build_regnets", "Nearest: build_regnet"),
        ("quite_another", "quite_another'$"),
    ],
)
def test_names_that_the_library_does_not_have(name, near):
    with pytest.raises(AttributeError, match=f"module 'regnet_tf' has no attribute .*{near}"):
        getattr(regnet_tf, name)
    assert not hasattr(regnet_tf, name)


def test_errors_of_input_tensor():
    with pytest.raises(ValueError, match="`input_tensor` must be a Keras tensor"):
        tiny(input_tensor=np.zeros((1, 32, 32, 3)))
    allowed = r"of shape \(height, width, channels\), at least 8 pixels a side"
    with pytest.raises(ValueError, match=f"`input_tensor` must be {allowed}"):
        tiny(input_tensor=keras.Input((8, 7, 3)))
    with pytest.raises(ValueError, match=r"`input_shape` must be None or \(32, 32, 3\)"):
        tiny(input_tensor=keras.Input((32, 32, 3)), input_shape=(64, 64, 3))


@pytest.mark.parametrize(("channels", "received"), [(1, 3), (3, 1)])
def test_images_of_other_channels(channels, received):
    model = tiny(input_shape=(32, 32, channels))
    with pytest.raises(
        ValueError, match=f"expected axis -1 of input shape to have value {channels}"
    ):
        model(np.zeros((1, 32, 32, received), "float32"))


def test_other_errors():
    with pytest.raises(ValueError, match=r"`config` must be a RegNetConfig or a variant's name"):
        build_regnet(None)
    with pytest.raises(
        ValueError, match=r"`build_regnet` has no argument clases. Nearest: classes, .*Known: "
    ):
        build_regnet("regnetx_002", clases=3)
    with pytest.raises(ValueError, match=r"`drop_path_rate` must be .* Received: drop_path_rate=1"):
        build_regnet("regnetx_002", drop_path_rate=1)
    with pytest.raises(ValueError, match=r"`config` must be .*='regnetx_003'. Nearest: "):
        build_regnet("regnetx_003")


# Names, configuration, saving.


def test_variable_paths():
    paths = {variable.path for variable in tiny().variables}
    assert {
        "stem/conv/kernel",
        "stem/conv/norm/moving_variance",
        "stage_1/block_1/conv_1/kernel",
        "stage_2/block_1/shortcut/norm/gamma",
        "stage_2/block_1/se/reduce/bias",
        "stage_2/block_2/conv_2/norm/beta",
        "head/kernel",
        "head/bias",
    } <= paths
    assert len(paths) == len(tiny().variables)
    assert all(re.match(r"(stem|stage_\d/block_\d|head)/", path) for path in paths)


def test_variable_paths_do_not_depend_on_models_made_before():
    first, second = tiny(), tiny(name="second")
    paths = [[variable.path for variable in model.variables] for model in (first, second)]
    assert paths[0] == paths[1]


def test_summary_shows_the_parts():
    lines = []
    tiny(input_shape=(32, 32, 3)).summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert re.search(r"stem.*stage_1.*stage_2.*pool.*head", text, re.DOTALL)
    assert "(None, 16, 16, 8)" in text and "(None, 4, 4, 16)" in text


def options():
    """Configuration and dtype that differ from the defaults wherever they can."""
    config = ONE_STAGE.replace(drop_path_rate=0.2)
    return tiny(config, name="options", dtype="mixed_bfloat16", synchronized=True)


@pytest.mark.short_floats
def test_config_round_trip():
    model, x = options(), images(2, 32, 32, 3)
    again = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(x), model(x))
    assert again.name == "options"
    assert [v.path for v in again.weights] == [v.path for v in model.weights]


def test_clone_model():
    model = tiny()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = images(2, 32, 32, 3)
    np.testing.assert_array_equal(clone(x), model(x))


LOAD = """
import sys
import keras, numpy, regnet_tf
folder = sys.argv[1]
arrays = numpy.load(f"{folder}/arrays.npz")
for name in ("tiny", "trained", "options", "group"):
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    outputs = model(arrays["x"], training=False)
    numpy.testing.assert_allclose(outputs, arrays[name], rtol=1e-6)
    print(name, type(model).__name__, model.count_params())
    if name == "trained":
        assert model.optimizer.iterations == 1
"""


@pytest.mark.short_floats
def test_keras_file_loads_in_another_process(tmp_path, run_python):
    x = images(4, 32, 32, 3)
    models = {
        "tiny": tiny(),
        "trained": tiny(ONE_STAGE),
        "options": options(),
        "group": build_regnet(
            RegNetConfig(explicit_stages=(StageConfig(16, 1, 8),), normalization="group")
        ),
    }
    models["trained"].compile(keras.optimizers.SGD(0.1, 0.9), "sparse_categorical_crossentropy")
    models["trained"].train_on_batch(x, np.arange(4))
    outputs = {name: model(x, training=False) for name, model in models.items()}
    np.savez(tmp_path / "arrays.npz", x=x, **outputs)
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    printed = run_python("-c", LOAD, tmp_path)
    for name, model in models.items():
        assert f"{name} Functional {model.count_params()}" in printed


def test_weights_file(tmp_path):
    model, again = tiny(), tiny()
    model.save_weights(tmp_path / "tiny.weights.h5")
    again.load_weights(tmp_path / "tiny.weights.h5")
    x = images(2, 32, 32, 3)
    np.testing.assert_array_equal(again(x), model(x))


# Training.


def step(model, seed=0):
    """Loss of one step on four images, before it."""
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model.train_on_batch(images(4, 32, 32, 3, seed=seed), np.arange(4))


def test_step_trains_every_variable():
    model = tiny(ONE_STAGE)
    before = {variable.path: variable.numpy() for variable in model.variables}
    assert step(model) == pytest.approx(np.log(5), rel=0.1)
    for variable in model.variables:
        assert (variable.numpy() != before[variable.path]).any(), variable.path


def test_fit_learns():
    model, x, y = tiny(ONE_STAGE), images(20, 16, 16, 3), np.arange(20) % 5
    x += images(5, 16, 16, 3, seed=1)[y]  # each class has a picture of its own
    model.compile(keras.optimizers.SGD(0.1, 0.9), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, batch_size=20, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


def test_set_random_seed_repeats():
    def start(seed):
        keras.utils.set_random_seed(seed)
        return tiny(ONE_STAGE.replace(drop_path_rate=0.5))

    first, again = ([step(model), *model.get_weights()] for model in (start(7), start(7)))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (start(8).get_weights()[0] != start(7).get_weights()[0]).all()


def test_drop_path_rates_grow_over_the_network():
    model = build_regnet(TINY.replace(drop_path_rate=0.3))
    blocks = [block for n in (1, 2) for block in model.get_layer(f"stage_{n}").blocks]
    assert [block.drop_path_rate for block in blocks] == pytest.approx([0, 0.15, 0.3])
    x = images(2, 32, 32, 3)
    np.testing.assert_array_equal(model(x), model(x))


def test_frozen_model_runs_in_inference_mode():
    model, x = tiny(), images(4, 32, 32, 3)
    model.trainable = False
    np.testing.assert_allclose(model(x, training=True), model(x, training=False), rtol=1e-6)
    assert model.trainable_variables == []
    model.trainable = True
    assert np.abs(model(x, training=True) - model(x, training=False)).max() > 1e-3


def test_fit_on_two_devices(two_devices):
    """Synchronized normalization and SGD on halves of a batch: the step of one device."""
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 4),), stem_width=4)
    x, y = images(8, 16, 16, 3), np.arange(8) % 5
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)

    def trained(strategy):
        keras.utils.set_random_seed(3)
        with strategy.scope():
            model = tiny(config, synchronized=True)
            model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
        history = model.fit(data, epochs=2, shuffle=False, verbose=0).history
        return history["loss"], model.get_weights()

    losses, weights = trained(two_devices)
    expected_losses, expected = trained(tf.distribute.get_strategy())
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    for found, array in zip(weights, expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("synchronized", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fit_where_a_device_gets_no_images(two_devices, synchronized):
    """The last of 9 images in batches of 4."""
    x, y = images(9, 16, 16, 3), np.arange(9) % 5
    config = RegNetConfig(explicit_stages=(StageConfig(8, 1, 4),), stem_width=4, se_ratio=0.25)
    with two_devices.scope():
        model = tiny(config, synchronized=synchronized)
        model.compile("sgd", "sparse_categorical_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    history = model.fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(array).all() for array in model.get_weights())


# Mixed precision.


@pytest.fixture(params=["argument", "global policy"])
def mixed(request):
    """Builds the tiny network under a policy, given either way."""

    def build(policy, **arguments):
        if request.param == "argument":
            return tiny(ONE_STAGE, dtype=policy, **arguments)
        keras.config.set_dtype_policy(policy)
        return tiny(ONE_STAGE, **arguments)

    yield build
    keras.config.set_dtype_policy("float32")


@pytest.mark.short_floats
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(mixed, policy):
    model = mixed(policy, classifier_activation=None)
    assert model.get_layer("stage_1").output.dtype == policy.removeprefix("mixed_")
    assert model.get_layer("pool").output.dtype == model.output.dtype == "float32"
    assert {variable.dtype for variable in model.variables} == {"float32"}
    x = images(4, 32, 32, 3)
    exact = with_weights_of(model, ONE_STAGE, dtype="float32", classifier_activation=None)
    assert model(x).dtype == "float32"
    assert np.abs(model(x) - exact(x)).max() < 0.05 * np.std(exact(x))
    predicted = model.predict_on_batch(x)
    assert predicted.dtype == "float32"
    assert np.abs(predicted - exact(x)).max() < 0.05 * np.std(exact(x))


@pytest.mark.short_floats
@pytest.mark.parametrize(
    "mixed", ["argument", pytest.param("global policy", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(mixed, policy):
    model = mixed(policy)
    exact = with_weights_of(model, ONE_STAGE, dtype="float32")
    before = model.get_weights()
    assert step(model) == pytest.approx(step(exact), rel=0.02)
    for variable, old, expected in zip(model.variables, before, exact.variables, strict=True):
        assert (variable.numpy() != old).any(), variable.path
        if "moving" in variable.path:  # short floats go in, but the sums are float32
            np.testing.assert_allclose(variable, expected, rtol=0.02, atol=0.01)


# XLA.

processor_only = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="XLA is for GPUs"
)


@processor_only
def test_compile_leaves_xla_off():
    model = tiny()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.jit_compile is False
    with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    assert model.jit_compile is False


@processor_only
@pytest.mark.parametrize("config", [TINY, get_config("regnetx_002")], ids=lambda one: one.name)
def test_train_step_holds_no_xla(config):
    model = build_regnet(config)
    model.compile("sgd", "sparse_categorical_crossentropy")
    batch = tf.TensorSpec((4, 64, 64, 3)), tf.TensorSpec((4,), "int32")
    train_step = tf.function(model.train_step, jit_compile=model.jit_compile)
    graph = train_step.get_concrete_function(batch).graph
    assert any(operation.type == "Conv2DBackpropFilter" for operation in graph.get_operations())
    assert b"_XlaMustCompile" not in graph.as_graph_def().SerializeToString()


@processor_only
def test_saved_model_holds_no_xla(tmp_path):
    model = tiny(input_shape=(32, 32, 3))
    model.export(tmp_path / "1", verbose=False)
    saved = (tmp_path / "1" / "saved_model.pb").read_bytes()
    assert b"Conv2D" in saved
    assert b"_XlaMustCompile" not in saved
    x = images(2, 32, 32, 3)
    served = tf.saved_model.load(tmp_path / "1")
    np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-4, atol=1e-6)
