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
        stem: names of the stem's convolution and normalization.
        block: prefix of a block. `{stage}` and `{block}` are numbers counted from 1. `{stage0}` and
            `{block0}` are counted from 0, and `{res}` is the stage counted from 2.
        layers: our layer within a block -> names of its convolution and normalization, or the
            single name of a squeeze-and-excitation layer.
        head: name of the head.
        gated: changes of `layers` for blocks with squeeze-and-excitation.
        prefixes: optional prefixes of a name, besides those of wrappers.
        bgr: whether the channels of the network's input are blue, green, red.
    """

    stem: tuple[str, str]
    block: str
    layers: Mapping[str, Names]
    head: str
    gated: Mapping[str, Names] = dataclasses.field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    bgr: bool = False

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

#: Names as in timm 1.0, torchvision 0.28, pycls, mmpretrain 1.2, transformers 5, ClassyVision (and
#: SWAG) and VISSL (SEER).
SOURCES = {
    "timm": Source(
        stem=("stem.conv", "stem.bn"),
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
    ),
    "torchvision": Source(
        stem=("stem.0", "stem.1"),
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
        stem=("stem.conv", "stem.bn"),
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
        stem=("backbone.conv1", "backbone.bn1"),
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
        stem=("regnet.embedder.embedder.convolution", "regnet.embedder.embedder.normalization"),
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
        stem=("stem.stem.0", "stem.stem.1"),
        block="trunk_output.block{stage}.block{stage}-{block0}.",
        layers=_CLASSY_LAYERS,
        head="fc",
        prefixes=("head.",),
    ),
    "vissl": Source(
        stem=("_feature_blocks.conv1.stem.0", "_feature_blocks.conv1.stem.1"),
        block="_feature_blocks.res{res}.block{stage}-{block0}.",
        layers=_CLASSY_LAYERS,
        head="0.clf.0",
        prefixes=("trunk.", "heads.", "0."),
    ),
}
