"""Networks for inference, with batch normalization folded into the convolutions."""

import inspect
import tempfile

import keras
import numpy as np

from regnet_tf._checks import check
from regnet_tf._internals import all_layers, functional_form
from regnet_tf.decoders import FeaturePyramid, FPNDecoder, UNetDecoder
from regnet_tf.layers import EPSILON, ConvNorm, Stage, Stem, XBlock

_WITH_NORMALIZATION = (
    *(ConvNorm, Stage, Stem, XBlock),
    *(FeaturePyramid, FPNDecoder, UNetDecoder),
)


def fuse(model: keras.Model, dtype: str | keras.DTypePolicy | None = None) -> keras.Model:
    """Returns a faster network for inference, with batch normalization folded into the kernels.

    Each `ConvNorm` keeps its name. Its kernel is multiplied by `gamma / sqrt(variance + epsilon)`,
    and a bias replaces the normalization. Everything else is copied with its state: the head,
    pooling, preprocessing, group normalization, your own layers and operations. Outputs agree
    within rounding. The given network is unchanged. Do not train the new one.

    Args:
        model: a functional `keras.Model` that holds RegNet layers, built by `build_regnet` or by
            hand.
        dtype: dtype policy of the new layers that compute in floats, such as "float32"; default:
            those of the old layers.

    Returns:
        A `keras.Model` with the same inputs, outputs and names.

    Raises:
        ValueError: if the model is not functional, or has no RegNet layers with batch
            normalization.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, input_shape=(32, 32, 3), classes=10)
        >>> fused = regnet_tf.fuse(model)
        >>> images = np.ones((1, 32, 32, 3), "float32")
        >>> np.allclose(model(images), fused(images), atol=1e-5)
        True
        >>> len(model.variables), len(fused.variables)
        (82, 34)
    """
    check("model", type(model).__name__, _is_functional(model), "a functional keras.Model")
    copies = {}

    def clone(operation):
        if operation not in copies:
            if _is_functional(operation):
                copies[operation] = _fuse(operation, clone)
            else:
                config = _config_of_copy(operation, dtype)
                copies[operation] = operation.__class__.from_config(config)
        return copies[operation]

    fused = _fuse(model, clone)
    ours = any(isinstance(layer, _WITH_NORMALIZATION) for layer in copies)
    check("model", model.name, ours, "a network of RegNet layers")
    for layer, copy in copies.items():
        if isinstance(layer, _WITH_NORMALIZATION):
            _copy_folded_weights(layer, copy)
        elif isinstance(layer, keras.Layer) and not _is_functional(layer):
            _copy_state(layer, copy)
    fused.trainable = False
    return fused


def _is_functional(model):
    return isinstance(model, keras.Model) and bool(getattr(model, "outputs", None))


def _fuse(model, clone):
    """Clones a model without its weights, as a functional one."""
    fused = keras.models.clone_model(
        functional_form(model), clone_function=clone, call_function=_infer
    )
    fused.name = model.name
    return fused


def _infer(operation, *args, **kwargs):
    """Calls a layer in inference mode; the default of augmentation layers is training mode."""
    if "training" in inspect.signature(operation.call).parameters:
        kwargs = {**kwargs, "training": False}
    return operation(*args, **kwargs)


def _config_of_copy(operation, dtype):
    """Returns the config of the new layer, or of an operation that is no layer."""
    config = operation.get_config()
    if dtype is not None and "dtype" in config and _computes_in_floats(operation):
        config["dtype"] = dtype
    if not isinstance(operation, _WITH_NORMALIZATION):
        return config
    if config["normalization"] == "batch":
        config["normalization"] = None
    for name, none in (("drop_path_rate", 0.0), ("drop_path_rates", None)):
        if name in config:  # used only in training
            config[name] = none
    return config


def _computes_in_floats(operation):
    """Whether a layer may have another dtype: indices, texts and quantized kernels may not."""
    if not isinstance(operation, keras.Layer) or operation.quantization_mode is not None:
        return False
    return keras.backend.is_float_dtype(operation.compute_dtype)


def _copy_state(layer, copy):
    """Copies all state of a layer, with the methods by which Keras saves and loads files.

    Only these methods know state that is no variable: the statistics of an adapted `Normalization`,
    the vocabulary of a `StringLookup`.
    """
    for old, new in zip(layer.variables, copy.variables, strict=True):
        new.assign(old)  # also the states of random generators
    for old, new in zip(all_layers(layer), all_layers(copy), strict=True):
        store: dict = {}
        old.save_own_variables(store)
        to_numpy = keras.ops.convert_to_numpy
        new.load_own_variables({name: to_numpy(value) for name, value in store.items()})
        if hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)


def _copy_folded_weights(layer, copy):
    """Copies a layer's weights, with normalization folded into kernel and bias."""
    weights = {_name_within(layer, v): keras.ops.convert_to_numpy(v) for v in layer.variables}
    for variable in copy.variables:
        name = _name_within(copy, variable)
        parent, _, kind = name.rpartition("/")
        norm = f"{parent}/norm/".lstrip("/")
        if f"{norm}moving_mean" in weights and kind in ("kernel", "bias"):
            value = _folded(kind, weights, parent, norm)
        else:
            value = weights[name]
        variable.assign(value)


def _name_within(layer, variable):
    return variable.path.removeprefix(f"{layer.path}/")


def _folded(kind, weights, parent, norm):
    """Returns a folded kernel or bias, computed in float64 so that only the last step rounds."""
    gamma, beta, mean, variance = (
        weights[norm + name].astype("float64")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    if kind == "bias":
        return beta - mean * scale
    return weights[f"{parent}/kernel".lstrip("/")].astype("float64") * scale
