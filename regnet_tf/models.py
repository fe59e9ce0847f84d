"""RegNets as Keras functional models, with the arguments of `keras.applications` functions."""

import dataclasses
import inspect
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from regnet_tf._checks import (
    MAX_SIDE,
    MAX_WIDTH,
    check,
    check_choice,
    check_int,
    check_number,
    is_int,
    shown,
)
from regnet_tf._errors import UserError, nearest
from regnet_tf._internals import all_layers
from regnet_tf.costs import complexity
from regnet_tf.finding import config_of
from regnet_tf.layers import FinalConv, Head, Stage, Stem, checked_class_names
from regnet_tf.options import BLOCK_OPTIONS
from regnet_tf.preprocessing import Preprocessing
from regnet_tf.published import is_tag
from regnet_tf.sharing.hub import is_hub_name
from regnet_tf.variants import VARIANTS, RegNetConfig, is_config_file, is_variant, named_config
from regnet_tf.weights import Checkpoint

_log = logging.getLogger("regnet_tf")

#: Total strides of a network: 32 in the published networks, 8 and 16 with dilation.
OUTPUT_STRIDES = (8, 16, 32)

Weights = Checkpoint | bool | str | os.PathLike | None
InputShape = tuple[int | None, int | None, int] | None
Activation = str | Callable | None


def build_regnet(
    config: RegNetConfig | str,
    *,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: Activation = "softmax",
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    include_preprocessing: bool = False,
    dropout: float = 0.0,
    output_stride: int = 32,
    synchronized: bool = False,
    remat: bool = False,
    dtype: str | keras.DTypePolicy | None = None,
    name: str | None = None,
    **changes: Any,
) -> keras.Model:
    """Builds a RegNet: stem, stages, pooling, head.

    The configuration, the preprocessing and the class names become part of the model and of the
    files that it is saved to; see `facts_of`.

    Feed images scaled to 0 to 1 and normalized by mean and standard deviation: `preprocess_input`
    and `preprocessing_for(model)` do both. With `include_preprocessing=True`, feed levels of 0 to
    255.

    Args:
        config: a `RegNetConfig`; a variant's name, as `get_config` takes it; a tag of published
            weights, such as "regnety_032.ra_in1k"; or a path or name of weights that tell their
            network, such as "hf://user/name". With the last two, `weights=True` loads the weights.
        include_top: whether to include the head, which makes the network a classifier.
        weights: None for random initialization; True or "imagenet" for the best ImageNet-1k weights
            of the variant with a free licence; a tag (see `list_weights`); or a path. A path may
            be a weight file (see `read_state_dict`), a folder as the Hugging Face hub stores it, a
            `.keras` file of a model with these layers, the folder of a run that trained one, or a
            `.weights.h5` file of a model built by this function. "hf://user/name" is a repository
            on the hub. For other channels than the weights have, the stem's weights are adapted
            (see `load_state_dict`).
        input_tensor: a Keras tensor to build on, instead of a new input.
        input_shape: `(height, width, channels)`; height and width may be None. Default
            `(None, None, 3)`.
        pooling: output without the head: None for the last feature map; "avg" or "max" for a
            vector.
        classes: number of outputs of the head; default: the number of `class_names`, else the
            number in the weights, else 1000. If the number or the names differ from those of the
            weights, the head is initialized at random, and a warning is logged.
        classifier_activation: "softmax", None for logits, or any activation Keras knows.
        class_names: names of the classes; default: those of the weights (ImageNet's synsets for
            published ImageNet-1k weights), else unknown.
        preprocessing: the `Preprocessing` of images; default: that of the weights, else unknown. It
            is adapted to the number of channels (see `Preprocessing.with_channels`).
        include_preprocessing: whether the model itself normalizes its images, uint8, by mean and
            standard deviation of the preprocessing; ImageNet's if it is unknown.
        dropout: probability of dropping a pooled feature before the head in training; timm's
            `drop_rate`.
        output_stride: upper limit for the input pixels per pixel of the last feature map. With 8 or
            16, dilation replaces the strides beyond it, and the variables stay the same.
        synchronized: whether batch normalization computes its statistics over all replicas.
        remat: whether to use gradient checkpointing: training stores only the inputs of the blocks,
            and recomputes the rest for the gradients. It takes less memory for large images, and
            more time.
        dtype: dtype policy, such as "mixed_bfloat16"; default: the global policy. Normalization
            statistics, pooled features and the head are float32 under every policy.
        name: name of the model; default: the tag of the weights or the name of the configuration.
        **changes: fields of `RegNetConfig` to change, such as `drop_path_rate=0.1`.

    Returns:
        A `keras.Model` with the layers `stem`, `stage_1` ..., `pool` and `head`; between the last
        two a layer `dropout` if its rate is above 0; before `pool` a layer `final_conv` or
        `final_activation` in RegNetV and RegNetZ. Output shape `(batch, classes)`; without the head
        `(batch, channels)` or `(batch, height / stride, width / stride, channels)`.

    Raises:
        ValueError: for an unknown variant (the message lists the nearest names); if an argument is
            out of range (the message names it); or for weights that do not fit.
        OSError: for weights that cannot be downloaded or read.

    Examples:
        >>> model = build_regnet("RegNetX-200MF", classes=10, input_shape=(64, 64, 3))
        >>> model.output_shape
        (None, 10)
    """
    config, weights = find_config(config, weights, changes)
    check_choice("pooling", pooling, (None, "avg", "max"))
    _check_activation(classifier_activation)
    check_number("dropout", dropout, minimum=0, below=1)
    check("dropout", dropout, include_top or dropout == 0, "0 without the head")
    check_choice("output_stride", output_stride, OUTPUT_STRIDES)
    least = min(config.total_stride, output_stride)
    inputs = _inputs(least, input_tensor, input_shape, include_preprocessing)
    classes, class_names = _checked_classes(include_top, classes, class_names)
    checkpoint = None if weights is None else Checkpoint.find(weights, config.name)
    preprocessing = _preprocessing_for(inputs, preprocessing, checkpoint)
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    wide = "float64" if policy.compute_dtype == "float64" else "float32"

    x = inputs
    if include_preprocessing:
        x = _preprocessing_layer(preprocessing or Preprocessing(), inputs.shape[3], wide)(x)
    x = _trunk(config, x, preprocessing, output_stride, synchronized, remat, policy)
    # Keras' setting of the data format must not change the axes.
    options = {"data_format": "channels_last", "name": "pool", "dtype": wide}
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(**options)(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(**options)(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout", dtype=wide)(x)
    if include_top:
        classes = _number_of_classes(classes, checkpoint)
        if class_names is None and checkpoint:
            class_names = checkpoint.class_names if classes == checkpoint.classes else None
        x = Head(classes, classifier_activation, class_names, name="head", dtype=wide)(x)
    if input_tensor is not None:
        sources = keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
    tag = checkpoint.tag if checkpoint else None
    model = keras.Model(inputs, x, name=name or tag or config.name)
    model.dtype_policy = policy  # tells `compile` that mixed_float16 needs loss scaling
    if checkpoint:
        _load(checkpoint, model)
    return model


def find_config(
    config: RegNetConfig | str,
    weights: Weights,
    changes: dict[str, Any],
    function: Callable[..., keras.Model] = build_regnet,
) -> tuple[RegNetConfig, Weights]:
    """Returns the configuration and the weights that the arguments of `build_regnet` select.

    Args:
        config: as in `build_regnet`.
        weights: as in `build_regnet`; True for those that `config` names. False counts as None.
        changes: fields of the configuration to change.
        function: the function that the user has called, for errors.

    Raises:
        ValueError: for an unknown name or field, or weights that do not tell their network.
        OSError: for weights that cannot be read.
    """
    unknown = sorted(set(changes) - _CONFIG_FIELDS)
    if unknown:
        known = {*inspect.signature(function).parameters, *_CONFIG_FIELDS} - {"changes"}
        raise ValueError(
            f"`{function.__name__}` has no argument {', '.join(unknown)}."
            f"{nearest(unknown[0], known)} Known: {', '.join(sorted(known))}."
        )
    weights = None if weights is False else weights
    if isinstance(config, RegNetConfig):
        return config.replace(**changes), weights
    check("config", config, isinstance(config, str), "a RegNetConfig or a variant's name")
    named = is_variant(config) or is_config_file(config)
    if named or not (is_tag(config) or is_hub_name(config) or os.path.exists(config)):
        return named_config(config, "config").replace(**changes), weights
    told = config_of(config)
    if told is None:
        raise UserError(f"{config} does not tell its network. Pass a RegNetConfig or a variant.")
    return told.replace(**changes), config if weights is True else weights


_CONFIG_FIELDS = {field.name for field in dataclasses.fields(RegNetConfig)} - {"name"}


def _checked_classes(include_top, classes, class_names):
    """Returns the number of classes, None if not given, and their names."""
    if classes is not None:
        check_int("classes", classes, minimum=1, maximum=MAX_WIDTH)
    if class_names is None:
        return classes, None
    check("class_names", class_names, include_top, "None without the head")
    class_names = checked_class_names(class_names, classes)
    return len(class_names), class_names


def _trunk(config, x, preprocessing, output_stride, synchronized, remat, dtype):
    """Applies everything before pooling to a tensor: stem, stages and last convolution."""
    shared = {"synchronized": synchronized, "dtype": dtype}
    norm = {"activation": config.activation, "normalization": config.normalization, **shared}
    x = Stem(
        config.stem_width,
        config.stem_stride,
        config.stem_type,
        config.preactivation,
        network=config,
        preprocessing=preprocessing,
        name="stem",
        **norm,
    )(x)
    blocks = {option: getattr(config, option) for option in BLOCK_OPTIONS}
    reached, dilation = config.stem_stride, 1
    pairs = zip(config.stages, config.drop_path_rates(), strict=True)
    for number, (stage, drop_path_rates) in enumerate(pairs, start=1):
        replaced = stage.stride > 1 and reached >= output_stride
        x = Stage(
            stage.width,
            stage.depth,
            stage.group_width,
            stage.stride,
            stage.bottleneck_ratio,
            drop_path_rates,
            dilation=dilation,
            replace_stride_with_dilation=replaced,
            remat=remat,
            name=f"stage_{number}",
            **shared,
            **blocks,
        )(x)
        if replaced:
            dilation *= stage.stride
        else:
            reached *= stage.stride
    if config.final_width:
        return FinalConv(config.final_width, name="final_conv", **norm)(x)
    if config.linear_output or config.preactivation:
        return keras.layers.Activation(config.activation, name="final_activation", dtype=dtype)(x)
    return x


def _number_of_classes(classes, checkpoint):
    """Returns `classes` if given, else the number in the weights, else 1000."""
    if classes is None and checkpoint and checkpoint.classes == 0:
        raise ValueError(
            f"`weights` {checkpoint.origin} have no head: pass `include_top=False`, or the"
            " number of `classes` of a new one"
        )
    return classes or (checkpoint and checkpoint.classes) or 1000


def _preprocessing_for(inputs, preprocessing, checkpoint):
    """Returns the given preprocessing, or the weights', for the channels of the input; or None."""
    if preprocessing is None and checkpoint:
        preprocessing = checkpoint.preprocessing(inputs.shape[1])
    if not isinstance(preprocessing, Preprocessing):
        return preprocessing  # the stem checks it
    return preprocessing.with_channels(inputs.shape[3])


def _load(checkpoint, model):
    """Loads weights into a model, and logs a warning if its head is new."""
    new_head = checkpoint.load_into(model)
    if new_head:
        _log.warning("%s: %s", model.name, new_head)


def _preprocessing_layer(preprocessing, channels, dtype):
    """Returns a layer that maps levels of 0 to 255 to the network's input range."""
    preprocessing = preprocessing.with_channels(channels)
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    return keras.layers.Rescaling(
        # `Rescaling` leaves a scale with 3 axes as it is, whatever Keras' setting of the data
        # format.
        scale=[[[1 / (255 * std) for _, std in pairs]]],
        offset=[-mean / std for mean, std in pairs],
        name="preprocessing",
        dtype=dtype,
    )


def _model_function(key: str) -> Callable[..., keras.Model]:
    """Returns the function of one variant, with the signature of `keras.applications`."""
    variant = VARIANTS[key]
    cost = complexity(variant.config)

    def function(
        include_top: bool = True,
        weights: Weights = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: InputShape = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: Activation = "softmax",
        name: str | None = None,
        **kwargs: Any,
    ) -> keras.Model:
        return build_regnet(
            key,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
            **kwargs,
        )

    function.__name__ = function.__qualname__ = variant.function_name
    function.__doc__ = f"""{variant.display_name}: {cost.parameters / 1e6:.1f} million parameters, \
{cost.multiply_adds / 1e9:.2f} billion multiply-adds at 224 pixels.

    Feed images scaled to 0 to 1 and normalized by mean and standard deviation: `preprocess_input`
    and `preprocessing_for(model)` do both. With `include_preprocessing=True`, feed levels of 0 to
    255.

    Args and returns: those of `regnet_tf.build_regnet`, whose other arguments are keyword arguments
    here, too.

    Examples:
        >>> model = regnet_tf.{variant.function_name}(classes=10)
        >>> model.output_shape
        (None, 10)
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
RegNetV4_0GF = _model_function("regnetv_040")
RegNetV6_4GF = _model_function("regnetv_064")
RegNetZ500MF = _model_function("regnetz_005")
RegNetZ4_0GF = _model_function("regnetz_040")
RegNetZ4_0GFh = _model_function("regnetz_040_h")
RegNetZB16 = _model_function("regnetz_b16")
RegNetZB16evos = _model_function("regnetz_b16_evos")
RegNetZC16 = _model_function("regnetz_c16")
RegNetZC16evos = _model_function("regnetz_c16_evos")
RegNetZD8 = _model_function("regnetz_d8")
RegNetZD8evos = _model_function("regnetz_d8_evos")
RegNetZD32 = _model_function("regnetz_d32")
RegNetZE8 = _model_function("regnetz_e8")


def freeze(model: keras.Model, upto: str) -> None:
    """Freezes a network from its input up to and including a layer, for fine-tuning.

    Frozen normalization runs in inference mode. Compile the model (again) afterwards. Set
    `model.trainable = False`, then `model.trainable = True`, to undo the freezing. Keras ignores a
    value that the model has already.

    Args:
        model: made by `build_regnet`.
        upto: name of the last frozen layer: "stem", "stage_1" ...

    Raises:
        ValueError: if the model has no layer of this name.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, classes=10)
        >>> regnet_tf.freeze(model, "stage_1")
        >>> [layer.name for layer in model.layers if layer.trainable]
        ['stage_2', 'stage_3', 'pool', 'head']
    """
    names = [layer.name for layer in model.layers]
    check_choice("upto", upto, names)
    for layer in model.layers[: names.index(upto) + 1]:
        layer.trainable = False


def freeze_normalization(model: keras.Model) -> None:
    """Freezes batch normalization, so that it runs in inference mode in training.

    Detectors do so when a batch has few images. All other variables remain trainable. Compile the
    model (again) afterwards. Undo it as for `freeze`.

    Args:
        model: a `keras.Model` that holds RegNet layers.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, classes=10)
        >>> trainable = len(model.trainable_variables)
        >>> regnet_tf.freeze_normalization(model)
        >>> trainable, len(model.trainable_variables)
        (50, 18)
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _inputs(least, input_tensor, input_shape, include_preprocessing):
    """Returns the input tensor of the network."""
    is_shape = input_shape is None or isinstance(input_shape, Iterable)
    check("input_shape", input_shape, is_shape, "None or (height, width, channels)")
    if input_shape is not None:
        input_shape = tuple(itertools.islice(input_shape, 4))  # one too many is seen
    if input_tensor is not None:
        tensor_ok = keras.backend.is_keras_tensor(input_tensor)
        check("input_tensor", input_tensor, tensor_ok, "a Keras tensor, as `keras.Input` returns")
        tensor_shape = tuple(input_tensor.shape[1:])
        given = input_shape in (None, tensor_shape)
        check("input_shape", input_shape, given, f"None or {tensor_shape}, as `input_tensor` has")
        _check_input_shape(least, tensor_shape, "input_tensor")
        return input_tensor
    shape = (None, None, 3) if input_shape is None else input_shape
    _check_input_shape(least, shape, "input_shape")
    return keras.Input(shape, name="images", dtype="uint8" if include_preprocessing else None)


def _check_input_shape(least, shape, argument):
    ok = len(shape) == 3 and is_int(shape[2]) and 1 <= shape[2] <= MAX_WIDTH
    check(argument, shape, ok, "of shape (height, width, channels); only the first two may be None")
    for side in shape[:2]:
        ok = side is None or (is_int(side) and least <= side <= MAX_SIDE)
        check(
            argument,
            shape,
            ok,
            f"of shape (height, width, channels), at least {least} pixels a side, the network's"
            " total stride",
        )


def _check_activation(activation):
    try:
        keras.activations.get(activation)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`classifier_activation` must be None or an activation that Keras knows. "
            f"Received: classifier_activation={shown(activation)}"
        ) from error
