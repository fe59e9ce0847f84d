"""RegNets as Keras functional models, with the arguments of `keras.applications` functions."""

import dataclasses
import inspect

import keras

from regnet_tf._checks import check, check_choice, check_int, is_int
from regnet_tf.complexity import complexity
from regnet_tf.layers import Head, Stage, Stem
from regnet_tf.variants import VARIANTS, RegNetConfig, get_config


def build_regnet(
    config,
    *,
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    synchronized=False,
    dtype=None,
    name=None,
):
    """Builds the network of a configuration: stem, stages, pooling, head.

    Args:
        config: a `RegNetConfig`.
        include_top: whether the classifier stands on top.
        weights: None for random initialization.
        input_tensor: a Keras tensor to build on, instead of a new input.
        input_shape: `(height, width, channels)`; height and width may be None. Default
            `(None, None, 3)`.
        pooling: without the classifier: None for the last feature map, "avg" or "max" for a vector.
        classes: outputs of the classifier.
        classifier_activation: "softmax", None for logits, or any activation Keras knows.
        synchronized: whether batch normalization takes its statistics over all replicas.
        dtype: dtype policy, such as "mixed_bfloat16"; the global one by default. Normalization
            statistics, pooled features and the classifier are float32 under every policy.
        name: of the model; by default the configuration's.

    Returns:
        A `keras.Model` whose layers are `stem`, `stage_1` ..., `pool` and `head`. Output shape
        `(batch, classes)`; without the classifier `(batch, channels)` or
        `(batch, height / stride, width / stride, channels)`.

    Raises:
        ValueError: naming the argument that is out of range.
    """
    check("config", config, isinstance(config, RegNetConfig), "a RegNetConfig")
    check("weights", weights, weights is None, "None")
    check_choice("pooling", pooling, (None, "avg", "max"))
    check_int("classes", classes, minimum=1)
    _check_activation(classifier_activation)
    inputs = _inputs(config, input_tensor, input_shape)
    dtype = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    options = {
        "activation": config.activation,
        "normalization": config.normalization,
        "synchronized": synchronized,
        "dtype": dtype,
    }
    x = Stem(config.stem_width, config.stem_stride, name="stem", **options)(inputs)
    pairs = zip(config.stages, config.drop_path_rates(), strict=True)
    for number, (stage, drop_path_rates) in enumerate(pairs, start=1):
        x = Stage(
            stage.width,
            stage.depth,
            stage.group_width,
            stage.stride,
            stage.bottleneck_ratio,
            config.se_ratio,
            drop_path_rates,
            name=f"stage_{number}",
            **options,
        )(x)
    wide = "float64" if dtype.compute_dtype == "float64" else "float32"
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="pool", dtype=wide)(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="pool", dtype=wide)(x)
    if include_top:
        x = Head(classes, classifier_activation, name="head", dtype=wide)(x)
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(inputs, x, name=name or config.name)


def create_model(name, **kwargs):
    """A RegNet by any of its names.

    Args:
        name: display, function, timm's, torchvision's, mmpretrain's or Hugging Face's name; see
            `regnet_tf.get_config`.
        **kwargs: arguments of `build_regnet` (`name` is taken: `model_name` names the model), and
            fields of `RegNetConfig` to change, such as `drop_path_rate=0.1`.

    Raises:
        ValueError: for an unknown variant, with the nearest names, or an argument out of range.
    """
    changes = {field: kwargs.pop(field) for field in list(kwargs) if field in _CONFIG_FIELDS}
    if "model_name" in kwargs:
        kwargs["name"] = kwargs.pop("model_name")
    unknown = set(kwargs) - _BUILD_ARGUMENTS
    if unknown:
        raise ValueError(
            f"A RegNet takes the arguments {', '.join(sorted(_BUILD_ARGUMENTS | _CONFIG_FIELDS))}."
            f" Received: {', '.join(sorted(unknown))}"
        )
    return build_regnet(get_config(name, **changes), **kwargs)


_BUILD_ARGUMENTS = set(inspect.signature(build_regnet).parameters) - {"config"}
_CONFIG_FIELDS = {field.name for field in dataclasses.fields(RegNetConfig)} - {"name"}


def _model_function(key):
    """The function of one variant of the paper, with the signature of `keras.applications`."""
    variant = VARIANTS[key]
    cost = complexity(variant.config)

    def function(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=variant.function_name,
        **kwargs,
    ):
        return create_model(
            key,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            model_name=name,
            **kwargs,
        )

    function.__name__ = function.__qualname__ = variant.function_name
    function.__doc__ = f"""{variant.display_name}: {cost.parameters / 1e6:.1f} million parameters, \
{cost.macs / 1e9:.2f} billion multiply-adds at 224 pixels.

    Args and returns: those of `regnet_tf.build_regnet`. Further keyword arguments may be fields of
    `regnet_tf.RegNetConfig` to change, such as `drop_path_rate=0.1`.
    """
    return function


RegNetX200MF = _model_function("regnetx_002")
RegNetX400MF = _model_function("regnetx_004")
RegNetX600MF = _model_function("regnetx_006")
RegNetX800MF = _model_function("regnetx_008")
RegNetX1_6GF = _model_function("regnetx_016")
RegNetX3_2GF = _model_function("regnetx_032")
RegNetX4_0GF = _model_function("regnetx_040")
RegNetX6_4GF = _model_function("regnetx_064")
RegNetX8_0GF = _model_function("regnetx_080")
RegNetX12GF = _model_function("regnetx_120")
RegNetX16GF = _model_function("regnetx_160")
RegNetX32GF = _model_function("regnetx_320")
RegNetY200MF = _model_function("regnety_002")
RegNetY400MF = _model_function("regnety_004")
RegNetY600MF = _model_function("regnety_006")
RegNetY800MF = _model_function("regnety_008")
RegNetY1_6GF = _model_function("regnety_016")
RegNetY3_2GF = _model_function("regnety_032")
RegNetY4_0GF = _model_function("regnety_040")
RegNetY6_4GF = _model_function("regnety_064")
RegNetY8_0GF = _model_function("regnety_080")
RegNetY12GF = _model_function("regnety_120")
RegNetY16GF = _model_function("regnety_160")
RegNetY32GF = _model_function("regnety_320")


def _inputs(config, input_tensor, input_shape):
    """The tensor the network stands on."""
    if input_tensor is not None:
        tensor_ok = keras.backend.is_keras_tensor(input_tensor)
        check("input_tensor", input_tensor, tensor_ok, "a Keras tensor, as `keras.Input` returns")
        tensor_shape = tuple(input_tensor.shape[1:])
        given = input_shape is None or tuple(input_shape) == tensor_shape
        check("input_shape", input_shape, given, f"None or {tensor_shape}, as `input_tensor` has")
        _check_input_shape(config, tensor_shape, "input_tensor")
        return input_tensor
    shape = (None, None, 3) if input_shape is None else tuple(input_shape)
    _check_input_shape(config, shape, "input_shape")
    return keras.Input(shape, name="images")


def _check_input_shape(config, shape, argument):
    ok = len(shape) == 3 and is_int(shape[2]) and shape[2] >= 1
    check(argument, shape, ok, "of shape (height, width, channels); only the first two may be None")
    least = config.total_stride
    for side in shape[:2]:
        ok = side is None or (is_int(side) and side >= least)
        check(argument, shape, ok, f"of at least {least} pixels a side, the network's total stride")


def _check_activation(activation):
    try:
        keras.activations.get(activation)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`classifier_activation` must be None or an activation that Keras knows. "
            f"Received: classifier_activation={activation!r}"
        ) from error
