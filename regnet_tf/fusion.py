"""Networks for inference, with batch normalization folded into the convolutions."""

import keras
import numpy as np

from regnet_tf._checks import check
from regnet_tf.decoders import FeaturePyramid, FPNDecoder, UNetDecoder
from regnet_tf.layers import EPSILON, ConvNorm, Stage, Stem, XBlock

_WITH_NORMALIZATION = (
    *(ConvNorm, Stage, Stem, XBlock),
    *(FeaturePyramid, FPNDecoder, UNetDecoder),
)


def fuse(model: keras.Model, dtype: str | keras.DTypePolicy | None = None) -> keras.Model:
    """Returns a faster network for inference, with batch normalization folded into the kernels.

    Each `ConvNorm` keeps its name. Its kernel is multiplied by `gamma / sqrt(variance + epsilon)`,
    and a bias replaces the normalization. Everything else stays: the head, pooling,
    preprocessing, group normalization, and layers of other libraries. Outputs agree within
    rounding. The given network is unchanged. Do not train the new one.

    Args:
        model: a functional `keras.Model` that holds RegNet layers, built by `build_regnet` or by
            hand.
        dtype: dtype policy of the new layers, such as "float32"; default: those of the old layers.

    Returns:
        A `keras.Model` with the same inputs, outputs and names.

    Raises:
        ValueError: if the model is not functional, or has no RegNet layers with batch
            normalization.
    """
    functional = isinstance(model, keras.Model) and bool(getattr(model, "outputs", None))
    check("model", type(model).__name__, functional, "a functional keras.Model")
    pairs = []

    def clone(layer):
        if isinstance(layer, keras.Model) and layer.outputs:
            return _fuse(layer, clone)
        copy = layer.__class__.from_config(_config_without_normalization(layer, dtype))
        pairs.append((layer, copy))
        return copy

    fused = _fuse(model, clone)
    ours = any(isinstance(layer, _WITH_NORMALIZATION) for layer, _ in pairs)
    check("model", model.name, ours, "a network of RegNet layers")
    for layer, copy in pairs:
        _copy_weights(layer, copy)
    fused.trainable = False
    return fused


def _fuse(model, clone):
    """Clones a model without its weights."""
    fused = keras.models.clone_model(model, clone_function=clone)
    fused.name = model.name
    return fused


def _config_without_normalization(layer, dtype):
    config = layer.get_config()
    if dtype is not None and "dtype" in config:
        config["dtype"] = dtype
    if not isinstance(layer, _WITH_NORMALIZATION):
        return config
    if config["normalization"] == "batch":
        config["normalization"] = None
    for name, none in (("drop_path_rate", 0.0), ("drop_path_rates", None)):
        if name in config:  # used only in training
            config[name] = none
    return config


def _copy_weights(layer, copy):
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
