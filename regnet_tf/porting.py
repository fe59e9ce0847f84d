"""Converts other projects' state dicts to our variables and back, in numpy.

`regnet_tf.sources` has the projects' names. Every rule works in both directions.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from regnet_tf._checks import check, check_choice
from regnet_tf._internals import all_layers
from regnet_tf._values import check_real, tell_odd_values
from regnet_tf.layers import FinalConv, Head, Stage, Stem, YBlock
from regnet_tf.sources import SOURCES, Source

if TYPE_CHECKING:
    import keras

#: Tensors to skip: the counter of PyTorch's batch normalization, which inference never reads, and
#: heads of self-supervised training, which no classifier has.
_IGNORED = re.compile(r"num_batches_tracked$|projection_head|prototypes")
#: Parts that are left out anywhere in a name: of modules that `torch.compile`, activation
#: checkpointing and FSDP wrap, and VISSL's groups of blocks in networks too large for one device.
_PART = re.compile(
    r"\b(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|block\d+-part\d+)\."
)
_PATH = re.compile(
    r"(?P<outside>stem/conv(_\d)?|final_conv|head)/"
    r"|stage_(?P<stage>\d+)/block_(?P<block>\d+)/"
    r"(?P<layer>conv_\d|norm_\d|shortcut|se/reduce|se/expand)/"
)
_FIRST = ("stem/conv", "stem/conv_1")
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "v": "v",
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Port:
    """One variable, and the name and shape of the source's tensor for it."""

    variable: "keras.Variable"
    name: str
    shape: tuple[int, ...]
    is_stem_kernel: bool
    is_head: bool

    def fits(self, tensor):
        """Whether a source's tensor has the shape, or can be adapted to the input channels."""
        shape = tensor.shape
        if self.is_stem_kernel and len(shape) == 4 and shape[1] in (1, 3):
            shape = (shape[0], self.shape[1], *shape[2:])
        return shape == self.shape

    def to_ours(self, tensor, bgr):
        """Converts a source's tensor to our layout: OIHW -> HWIO, or (out, in) -> (in, out)."""
        if tensor.ndim > 1:
            tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
        if self.is_stem_kernel:
            return _with_channels(self._turn(tensor, bgr), self.shape[1])
        return tensor.reshape(self.variable.shape)

    def to_source(self, bgr):
        """Returns the variable's value in the source's layout."""
        value = self._turn(np.array(np.asarray(self.variable), "float32"), bgr)
        if value.ndim == 1:
            return value
        return np.ascontiguousarray(np.moveaxis(value, (-1, -2), (0, 1))).reshape(self.shape)

    def _turn(self, kernel, bgr):
        """Swaps BGR and RGB in the stem's kernel if `bgr`, and if it has three input channels."""
        turn = bgr and self.is_stem_kernel and kernel.shape[-2] == 3
        return kernel[..., ::-1, :] if turn else kernel


def _with_channels(kernel, channels):
    """Adapts a stem's kernel, `(height, width, channels, filters)`, to other channels.

    From red, green and blue as timm does: for one channel, it is summed; for other numbers, it is
    repeated, cut and scaled by `3 / channels`. A gray kernel is repeated and scaled by `1 /
    channels`, so that a gray image in color gets the same answer.
    """
    given = kernel.shape[2]
    if given == channels:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    kernel = np.tile(kernel, (1, 1, -(-channels // given), 1))[:, :, :channels]
    return kernel * np.float32(given / channels)


def load_state_dict(
    model: "keras.Model",
    state_dict: Mapping[str, np.ndarray],
    source: str = "auto",
    skip_head: bool = False,
) -> str:
    """Loads another project's weights into a RegNet.

    All tensors are checked before any variable changes. The networks of pycls and mmpretrain take
    blue, green, red. The input channels of their first convolution are reversed, so that the model
    takes red, green, blue like every other.

    If the model has another number of input channels than red, green and blue, the first
    convolution is adapted as in timm. For one channel, it is summed over the three. For other
    numbers, it is repeated, cut and scaled by `3 / channels`. That of a gray network is repeated
    and divided by the number of channels, so a gray image in color gets the same answer.

    A line is logged if weights are NaN or infinite, or if a variance is negative.

    Prefixes that wrappers add to all names of the network are ignored, such as `module.` and
    `_orig_mod.`. Of several copies of the network, the first is loaded.

    Args:
        model: made by `build_regnet` or one of the model functions. For a model without a head,
            the head in the state dict is skipped.
        state_dict: the source's names -> arrays in PyTorch's layout.
        source: a key of `SOURCES`; "auto" finds it by the names.
        skip_head: whether the head keeps its values, for another number of classes.

    Returns:
        The key of the source.

    Raises:
        ValueError: for missing, left-over or misshapen tensors (the message lists all), for
            tensors that are not of floating-point numbers, or for an unknown source.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, classes=10)
        >>> state_dict = regnet_tf.to_state_dict(model, "torchvision")
        >>> regnet_tf.load_state_dict(model, state_dict)
        'torchvision'
    """
    check_choice("source", source, ("auto", *SOURCES))
    unnamed = [name for name in state_dict if not isinstance(name, str)]
    check("state_dict", unnamed[:3], not unnamed, "named by texts")
    source = _key(model, source)
    tried = SOURCES if source == "auto" else [source]
    matches = {name: _match(model, state_dict, SOURCES[name]) for name in tried}
    source = max(matches, key=lambda name: len(matches[name].known))
    match, rules = matches[source], SOURCES[source]
    if not match.known:
        some = _some(list(state_dict)) or "none"
        raise ValueError(
            f"`state_dict` must hold a RegNet of {', '.join(tried)}. Received the names: {some}"
        )
    wanted = [port for port in match.ports if not (port.is_head and skip_head)]
    tensors = {
        port: np.asarray(state_dict[match.known[port.name]])
        for port in wanted
        if port.name in match.known
    }
    _raise_unless_fitting(
        model,
        source,
        missing=[port.name for port in wanted if port not in tensors],
        left_over=match.left_over,
        misshapen=[
            f"{port.name} {tensor.shape} instead of {port.shape}"
            for port, tensor in tensors.items()
            if not port.fits(tensor)
        ],
    )
    for port, tensor in tensors.items():
        check_real(port.name, tensor)
    tensors = {port: _to_float32(tensor) for port, tensor in tensors.items()}
    tell_odd_values(model.name, ((port.name, tensor) for port, tensor in tensors.items()))
    for port in wanted:
        port.variable.assign(port.to_ours(tensors[port], rules.bgr))
    return source


def _key(model, source):
    """Returns the key of a source for a network: timm's `byobnet.py` has names of its own."""
    is_lettered = any(block.bottleneck_in for block in _blocks(all_layers(model)))
    return "timm_byobnet" if source == "timm" and is_lettered else source


def _blocks(layers):
    return [block for layer in layers if isinstance(layer, Stage) for block in layer.blocks]


def _to_float32(tensor):
    with np.errstate(over="ignore"):  # infinity is told
        return tensor.astype("float32")


class _Match(NamedTuple):
    """What a state dict holds for a model by the names of a source.

    `known` maps the names of ports to those in the state dict.
    """

    ports: list[_Port]
    known: dict[str, str]
    left_over: list[str]


def _match(model: "keras.Model", state_dict: Mapping[str, np.ndarray], rules: Source) -> _Match:
    """Matches the names of a state dict with those of a source."""
    names = {_PART.sub("", name): name for name in state_dict if not _IGNORED.search(name)}
    ports = list(_ports(model, rules))
    trunk = {rules.strip(port.name) for port in ports if not port.is_head}
    wrapper = _wrapper(names, trunk, rules)
    # The head may be outside the wrapper of the trunk.
    outer = [wrapper[:end] for end in reversed(_starts(wrapper))]
    found: dict[str, str] = {}
    for prefix in outer:
        for name, original in names.items():
            if name.startswith(prefix):
                found.setdefault(rules.strip(name.removeprefix(prefix)), original)
    known = {port.name: rules.strip(port.name) for port in ports}
    heads = {rules.strip(name) for name in rules.head_names}
    left_over = [
        original
        for name, original in names.items()
        if name.startswith(wrapper)
        and rules.strip(name.removeprefix(wrapper)) not in {*known.values(), *heads}
    ]
    known = {port: found[name] for port, name in known.items() if name in found}
    return _Match(ports, known, left_over)


def _wrapper(names, trunk, rules):
    """Returns the prefix under which most names of a trunk occur; the first one of equals."""
    counts = collections.Counter(
        name[:start]
        for name in names
        for start in _starts(name)
        if rules.strip(name[start:]) in trunk
    )
    return max(counts, key=counts.__getitem__, default="")


def _starts(name):
    """Returns where the parts of a dotted name start."""
    return [0, *(match.end() for match in re.finditer(r"\.", name))]


def count_classes(state_dict: Mapping[str, np.ndarray]) -> int:
    """Returns the number of outputs of the head in a state dict of any source; 0 without one."""
    names = {f".{rules.strip(rules.head_names[0])}" for rules in SOURCES.values()}
    heads = [
        tensor.shape[0]
        for name, tensor in state_dict.items()
        if tensor.ndim == 2 and not _IGNORED.search(name) and f".{name}".endswith(tuple(names))
    ]
    return heads[-1] if heads else 0


def to_state_dict(model: "keras.Model", source: str = "timm") -> dict[str, np.ndarray]:
    """Returns a model's weights under another project's names, in PyTorch's layout.

    It is the inverse of `load_state_dict`.

    Args:
        model: made by `build_regnet` or one of the model functions.
        source: a key of `SOURCES`.

    Returns:
        Names -> float32 arrays, and the batch counters that PyTorch expects (int64 zeros).

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, classes=10)
        >>> list(regnet_tf.to_state_dict(model, "timm"))[:2]
        ['stem.conv.weight', 'stem.bn.weight']
    """
    check_choice("source", source, SOURCES)
    rules = SOURCES[_key(model, source)]
    state_dict = {}
    for port in _ports(model, rules):
        state_dict[port.name] = port.to_source(rules.bgr)
        if port.name.endswith("running_var"):
            counter = port.name.replace("running_var", "num_batches_tracked")
            state_dict[counter] = np.zeros((), "int64")
    return state_dict


def _raise_unless_fitting(model, source, **problems):
    lines = [
        f"{len(names)} {problem.replace('_', ' ')}: {_some(names)}"
        for problem, names in problems.items()
        if names
    ]
    if not lines:
        return
    head = SOURCES[source].head_names
    if all(name.startswith(head) for names in problems.values() for name in names):
        lines.append("`skip_head=True` loads everything but the head.")
    raise ValueError(
        f"`state_dict` of {source} does not fit {model.name}; nothing was changed.\n"
        + "\n".join(lines)
    )


def _some(names, most=8):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _ports(model: "keras.Model", rules: Source) -> Iterator[_Port]:
    """Yields every variable of the model with the source's name and shape for it."""
    kinds = (Stem, Stage, FinalConv, Head)
    ours = [layer for layer in all_layers(model) if isinstance(layer, kinds)]
    names = rules.names(**_kinds_of_blocks(ours))
    for variable in (variable for layer in ours for variable in layer.variables):
        match = _PATH.search(variable.path)
        if match is None:
            continue  # state of a random generator
        weight = variable.path[match.end() :]
        shape = tuple(variable.shape)
        if weight == "kernel":
            shape = (shape[-1], shape[-2], *shape[:-2])
            if (match["layer"] or "").startswith("se/"):
                shape += (1, 1)  # a fully connected layer here, a 1x1 convolution there
        is_stem_kernel = match["outside"] in _FIRST and weight == "kernel"
        name = _source_name(match, weight, rules, names)
        yield _Port(variable, name, shape, is_stem_kernel, match["outside"] == "head")


def _kinds_of_blocks(layers):
    """Returns the arguments of `Source.names` for the blocks of a network."""
    blocks = _blocks(layers)
    return {
        "gated": any(isinstance(block, YBlock) for block in blocks),
        "averaged": any(block.shortcut_type == "average" for block in blocks),
        "preactivated": any(block.preactivation for block in blocks),
    }


def _source_name(match, weight, rules, names):
    """Names a tensor: `stage_1/block_2/conv_1` and `norm/gamma` -> `s1.b2.conv1.bn.weight`."""
    prefix = ""
    if not match["outside"]:
        stage, block = int(match["stage"]), int(match["block"])
        prefix = rules.block.format(
            stage=stage, stage0=stage - 1, res=stage + 1, block=block, block0=block - 1
        )
    layer = match["outside"] or match["layer"]
    of_layer = names.get(layer, layer)
    conv, norm = of_layer if isinstance(of_layer, tuple) else (of_layer, of_layer)
    if weight in ("kernel", "bias"):
        return f"{prefix}{conv}.{'weight' if weight == 'kernel' else weight}"
    return f"{prefix}{norm}.{_NORM[weight.removeprefix('norm/')]}"
