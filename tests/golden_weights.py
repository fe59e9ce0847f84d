"""Weights and inputs of the golden logits, drawn on any machine from nothing but their names.

A weight depends on its state-dict key, in the naming of the project it belongs to, and on its shape
in PyTorch's layout: (out, in / groups, rows, columns) for a convolution, (out, in) for a linear
layer. `golden/README.md` says what was made with it. numpy promises that PCG64's stream of bits
never changes, and `standard_normal` and `uniform` have not since numpy 1.17; `self_check()` raises
if one ever draws anything else.
"""

import hashlib
import zlib

import numpy as np

#: Range of the scales of normalization, unless a golden file has its own: networks without
#: activations at the end of their blocks need larger ones for deep layers to count.
SCALE_RANGE = (0.4, 0.8)


def kind(name, shape):
    """Which of the rules below applies: 'tracked', 'conv', 'linear', 'var', 'scale' or 'shift'."""
    if name.endswith("num_batches_tracked"):
        return "tracked"
    if len(shape) == 4:
        return "conv"
    if len(shape) == 2:
        return "linear"
    if len(shape) == 1:
        if name.endswith("running_var"):
            return "var"
        if name.endswith("weight"):
            return "scale"
        return "shift"  # every bias (norm, SE conv, classifier) and running_mean
    raise ValueError(f"no rule for {name!r} with shape {tuple(shape)}")


def fill(name, shape, scale_range=SCALE_RANGE):
    """The value of one state-dict entry: float32 (int64 scalar for num_batches_tracked)."""
    shape = tuple(int(s) for s in shape)
    k = kind(name, shape)
    if k == "tracked":
        return np.zeros((), np.int64)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if k == "conv":
        x = rng.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))
    elif k == "linear":
        x = rng.standard_normal(shape) * 0.05
    elif k == "var":
        x = rng.uniform(0.5, 1.5, shape)
    elif k == "scale":
        x = rng.uniform(*scale_range, shape)
    else:
        x = rng.standard_normal(shape) * 0.1
    return x.astype(np.float32)


def state_dict(keys, golden):
    """The state dict of a golden file, by its list of names and shapes."""
    scale_range = golden.get("scale_range", SCALE_RANGE)
    return {name: fill(name, shape, scale_range) for name, shape in keys}


def input_batch():
    """The main input: (2, 96, 96, 3) float32; timm got it as (2, 3, 96, 96)."""
    return (
        np.random.Generator(np.random.PCG64(7)).standard_normal((2, 96, 96, 3)).astype(np.float32)
    )


def input_odd():
    """A second one of odd size, (1, 75, 101, 3): every layer of stride 2 meets one somewhere."""
    return (
        np.random.Generator(np.random.PCG64(11)).standard_normal((1, 75, 101, 3)).astype(np.float32)
    )


def self_check():
    """Raises if this numpy does not draw what the golden files were made with."""
    h = hashlib.sha256()
    h.update(fill("stem.conv.weight", (32, 3, 3, 3)).tobytes())
    h.update(fill("stem.bn.weight", (32,)).tobytes())
    h.update(fill("stem.bn.running_var", (32,)).tobytes())
    h.update(fill("stem.bn.running_mean", (32,)).tobytes())
    h.update(fill("head.fc.weight", (1000, 368)).tobytes())
    h.update(input_batch().tobytes())
    h.update(input_odd().tobytes())
    got = h.hexdigest()
    if got != SELF_CHECK:
        raise AssertionError(f"golden weights differ from the recorded ones: {got}")


SELF_CHECK = "80ae6e9959659ac22821d9dbc106930c5efb197919f93351006a5a40b371ae61"
