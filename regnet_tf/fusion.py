"""Networks for inference: batch normalization folded into the convolutions before it."""

import keras
import numpy as np

from regnet_tf._checks import check
from regnet_tf.decoders import FeaturePyramid, SegmentationHead, UNetDecoder
from regnet_tf.layers import EPSILON, ConvNorm, Stage, Stem, XBlock

_WITH_NORMALIZATION = (
    *(ConvNorm, Stage, Stem, XBlock),
    *(FeaturePyramid, SegmentationHead, UNetDecoder),
)


def fuse(model, dtype=None):
    """The same network for inference, faster: batch normalization becomes part of the kernels.

    Each `ConvNorm` keeps its name, its kernel times `gamma / sqrt(variance + epsilon)`, and a bias
    in place of the normalization. All else stays: the classifier, pooling, preprocessing, group
    normalization, and layers other than this library's. Outputs agree within rounding. The network
    that is given stays as it is; the new one is not for training.

    Args:
        model: a functional `keras.Model` that holds RegNet layers, built by `build_regnet` or by
            anyone of them.
        dtype: dtype policy of the new layers, such as "float32"; by default those of the old ones.

    Returns:
        A `keras.Model` with the same inputs, outputs and names.

    Raises:
        ValueError: for what is no functional model, or holds no batch normalization of RegNet
            layers.
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
    """The model of cloned layers, its weights not yet those of the original."""
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
        if name in config:  # of training only
            config[name] = none
    return config


def _copy_weights(layer, copy):
    """Gives a layer's copy its weights, normalization folded into kernel and bias."""
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
    """In float64, so that nothing but the last rounding is lost."""
    gamma, beta, mean, variance = (
        weights[norm + name].astype("float64")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    if kind == "bias":
        return beta - mean * scale
    return weights[f"{parent}/kernel".lstrip("/")].astype("float64") * scale
