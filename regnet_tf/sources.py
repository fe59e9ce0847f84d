"""The names of tensors in other projects' state dicts.

A `Source` is a project's table of names: its names for the convolution and the normalization of
each of our layers.
"""

import dataclasses
from collections.abc import Mapping

#: Names of a convolution and its normalization, or the single name of a layer.
Names = tuple[str, str] | str


@dataclasses.dataclass(frozen=True)
class Source:
    """The tensor names of one project.

    Attributes:
        outside: our layer outside blocks -> names of its convolution and normalization.
        block: prefix of a block. `{stage}` and `{block}` are numbers counted from 1. `{stage0}` and
            `{block0}` are counted from 0, and `{res}` is the stage counted from 2.
        layers: our layer within a block -> names of its convolution and normalization, or the
            single name of a squeeze-and-excitation layer.
        head: name of the head.
        gated: changes of `layers` for blocks with squeeze-and-excitation.
        averaged: a text in the shortcut's names, and its replacement in shortcuts with average
            pooling.
        preactivated: changes of `outside` and `layers` for networks with preactivation. A layer
            without normalization after it has a single name.
        prefixes: optional prefixes of a name, besides those of wrappers.
        bgr: whether the channels of the network's input are blue, green, red.
    """

    outside: Mapping[str, Names]
    block: str
    layers: Mapping[str, Names]
    head: str
    gated: Mapping[str, Names] = dataclasses.field(default_factory=dict)
    averaged: tuple[str, str] = ("", "")
    preactivated: Mapping[str, Names] = dataclasses.field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    bgr: bool = False

    def names(self, gated: bool, averaged: bool, preactivated: bool) -> dict[str, Names]:
        """Returns our layer -> the source's names, for networks with these kinds of blocks."""
        names = {**self.outside, **self.layers, "head": self.head}
        for applies, changes in ((gated, self.gated), (preactivated, self.preactivated)):
            names |= dict(changes) if applies else {}
        if averaged:
            names["shortcut"] = self._averaged(names["shortcut"])
        return names

    def _averaged(self, names: Names) -> Names:
        if isinstance(names, str):
            return names.replace(*self.averaged)
        conv, norm = (name.replace(*self.averaged) for name in names)
        return conv, norm

    @property
    def head_names(self):
        """Names of the head's tensors."""
        return (f"{self.head}.weight", f"{self.head}.bias")

    def strip(self, name):
        """Returns the name without optional prefixes."""
        for prefix in (*self.prefixes, *self.prefixes):
            name = name.removeprefix(prefix)
        return name


_CLASSY_LAYERS: Mapping[str, Names] = {
    "conv_1": ("f.a.0", "f.a.1"),
    "conv_2": ("f.b.0", "f.b.1"),
    "conv_3": ("f.c", "f.final_bn"),
    "shortcut": ("proj", "bn"),
    "se/reduce": "f.se.excitation.0",
    "se/expand": "f.se.excitation.2",
}

_FINAL = ("final_conv.conv", "final_conv.bn")

#: Names as in timm 1.0 (`regnet.py` and `byobnet.py`), torchvision 0.28, pycls, mmpretrain 1.2,
#: transformers 5, ClassyVision (and SWAG) and VISSL (SEER).
SOURCES = {
    "timm": Source(
        outside={"stem/conv": ("stem.conv", "stem.bn"), "final_conv": _FINAL},
        block="s{stage}.b{block}.",
        layers={
            "conv_1": ("conv1.conv", "conv1.bn"),
            "conv_2": ("conv2.conv", "conv2.bn"),
            "conv_3": ("conv3.conv", "conv3.bn"),
            "shortcut": ("downsample.conv", "downsample.bn"),
            "se/reduce": "se.fc1",
            "se/expand": "se.fc2",
        },
        head="head.fc",
        averaged=("downsample", "downsample.1"),
        preactivated={
            "stem/conv": "stem",
            "norm_1": "norm1",
            "conv_1": ("conv1", "norm2"),
            "conv_2": "conv2",
            "norm_3": "norm3",
            "conv_3": "conv3",
            "shortcut": "downsample",
        },
    ),
    "timm_byobnet": Source(
        outside={
            "stem/conv": ("stem.conv", "stem.bn"),
            **{f"stem/conv_{n}": (f"stem.conv{n}.conv", f"stem.conv{n}.bn") for n in (1, 2, 3)},
            "final_conv": _FINAL,
        },
        block="stages.{stage0}.{block0}.",
        layers={
            "conv_1": ("conv1_1x1.conv", "conv1_1x1.bn"),
            "conv_2": ("conv2_kxk.conv", "conv2_kxk.bn"),
            "conv_3": ("conv3_1x1.conv", "conv3_1x1.bn"),
            "shortcut": ("shortcut.conv", "shortcut.bn"),
            "se/reduce": "attn.fc1",
            "se/expand": "attn.fc2",
        },
        head="head.fc",
        averaged=("shortcut", "shortcut.conv"),
    ),
    "torchvision": Source(
        outside={"stem/conv": ("stem.0", "stem.1")},
        block="trunk_output.block{stage}.block{stage}-{block0}.",
        layers={
            "conv_1": ("f.a.0", "f.a.1"),
            "conv_2": ("f.b.0", "f.b.1"),
            "conv_3": ("f.c.0", "f.c.1"),
            "shortcut": ("proj.0", "proj.1"),
            "se/reduce": "f.se.fc1",
            "se/expand": "f.se.fc2",
        },
        head="fc",
    ),
    "pycls": Source(
        outside={"stem/conv": ("stem.conv", "stem.bn")},
        block="s{stage}.b{block}.",
        layers={
            "conv_1": ("f.a", "f.a_bn"),
            "conv_2": ("f.b", "f.b_bn"),
            "conv_3": ("f.c", "f.c_bn"),
            "shortcut": ("proj", "bn"),
            "se/reduce": "f.se.f_ex.0",
            "se/expand": "f.se.f_ex.2",
        },
        head="head.fc",
        bgr=True,
    ),
    "mmpretrain": Source(
        outside={"stem/conv": ("backbone.conv1", "backbone.bn1")},
        block="backbone.layer{stage}.{block0}.",
        layers={
            "conv_1": ("conv1", "bn1"),
            "conv_2": ("conv2", "bn2"),
            "conv_3": ("conv3", "bn3"),
            "shortcut": ("downsample.0", "downsample.1"),
        },
        head="head.fc",
        prefixes=("backbone.",),
        bgr=True,
    ),
    "huggingface": Source(
        outside={
            "stem/conv": (
                "regnet.embedder.embedder.convolution",
                "regnet.embedder.embedder.normalization",
            )
        },
        block="regnet.encoder.stages.{stage0}.layers.{block0}.",
        layers={
            "conv_1": ("layer.0.convolution", "layer.0.normalization"),
            "conv_2": ("layer.1.convolution", "layer.1.normalization"),
            "conv_3": ("layer.2.convolution", "layer.2.normalization"),
            "shortcut": ("shortcut.convolution", "shortcut.normalization"),
        },
        gated={
            "conv_3": ("layer.3.convolution", "layer.3.normalization"),
            "se/reduce": "layer.2.attention.0",
            "se/expand": "layer.2.attention.2",
        },
        head="classifier.1",
        prefixes=("regnet.",),
    ),
    "classyvision": Source(
        outside={"stem/conv": ("stem.stem.0", "stem.stem.1")},
        block="trunk_output.block{stage}.block{stage}-{block0}.",
        layers=_CLASSY_LAYERS,
        head="fc",
        prefixes=("head.",),
    ),
    "vissl": Source(
        outside={"stem/conv": ("_feature_blocks.conv1.stem.0", "_feature_blocks.conv1.stem.1")},
        block="_feature_blocks.res{res}.block{stage}-{block0}.",
        layers=_CLASSY_LAYERS,
        head="0.clf.0",
        prefixes=("trunk.", "heads.", "0."),
    ),
}
