"""Loads initial weights into the network of a run that begins."""

import keras

from regnet_tf import facts_of
from regnet_tf.weights import Checkpoint

# Layers of a segmentation network after its backbone, in the order of the data.
_AFTER_BACKBONE = ("pyramid", "decoder", "classifier")


def load_initial(model: keras.Model, weights: Checkpoint) -> list[str]:
    """Loads weights into a network.

    The head is loaded if both networks have the same class names. So is the last layer of a
    segmentation network. The decoder is loaded from a segmentation network with the same decoder.

    Args:
        model: a network as the tasks build it.
        weights: the weights.

    Returns:
        Lines that say what was loaded.

    Raises:
        ValueError: if the weights do not fit the network.
    """
    new_head = weights.load_into(model, unnamed_head=False)
    lines = [f"Initial weights: {weights.origin}."]
    if new_head:
        lines.append(f"{new_head}.")
    names = [layer.name for layer in model.layers]
    if "decoder" in names:
        new = [
            name for name in _AFTER_BACKBONE if name in names and not _copy(model, weights, name)
        ]
        if new:
            lines.append(f"New after the backbone: {', '.join(new)}.")
    return lines


def _copy(model, weights, name):
    """Copies a layer of another segmentation network; returns whether it fits."""
    source = weights.model
    if source is None or name not in [layer.name for layer in source.layers]:
        return False
    layer, other = model.get_layer(name), source.get_layer(name)
    values = [variable.numpy() for variable in other.variables]
    fits = [value.shape for value in values] == [tuple(v.shape) for v in layer.variables]
    if not fits:
        return False
    if name == "classifier":
        ours, theirs = (facts_of(one).class_names for one in (model, source))
        if not ours or not theirs or sorted(ours) != sorted(theirs):
            return False
        order = [theirs.index(one) for one in ours]
        values = [value[..., order] for value in values]
    for variable, value in zip(layer.variables, values, strict=True):
        variable.assign(value)
    return True
