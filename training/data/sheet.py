"""A sheet of augmented training images, to see what a network is trained on."""

from collections.abc import Sequence

import numpy as np

from regnet_tf._boxes import draw_box
from regnet_tf._errors import import_optional
from regnet_tf.class_names import readable

from ..figures import named, write_figure
from .batches import training_batches
from .boxes import without_padding

_COLUMNS, _ROWS = 8, 5
_LONGEST_NAME = 24  # letters that fit above an image
_MOST_NAMED_CLASSES = 40
_SMALLEST_SHARE = 0.05  # a mixed image's second class is named from this share on


def write_sheet(path, data, recipe):
    """Writes the first training images of the first epoch, augmented, with their classes.

    Args:
        path: path of a PNG file; its folder is created if missing.
        data: a `training.data.DataSet` with at least one batch of training images.
        recipe: a `training.recipes.Recipe`.

    Raises:
        UserError: if matplotlib is missing.
    """
    images, labels = _first(data, recipe)
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = import_optional("matplotlib.figure").Figure(
        (1.5 * columns + 0.2, 1.7 * rows + 0.5), layout="constrained"
    )
    figure.suptitle(f"{data.name}, training images of the recipe {recipe.name}")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, label in zip(grid, images, labels, strict=False):
        shown = displayable(image, recipe.images)
        axes.imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1)
        if data.target == "pixels":
            _draw_map(axes, label)
        elif data.target == "boxes":
            _draw_boxes(axes, label, shown.shape, data.class_names)
        else:
            text = title if data.target == "class" else titles
            axes.set_title(text(label, data.class_names), fontsize=7)
    if data.target == "pixels":
        _draw_legend(figure, data.class_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_figure(figure, path)


def displayable(image, images):
    """Reverses the normalization of an image; returns values from 0 to 1.

    Args:
        image: float32 `(height, width, channels)`.
        images: the `Images` of the recipe, with the `mean` and `std` of the normalization.
    """
    normalization = images.preprocessing
    return np.clip(np.asarray(image) * normalization.std + normalization.mean, 0, 1)


def title(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns the name of an image's class, or names and shares for a mix of two images.

    Args:
        label: share of each class, `(classes,)`.
        class_names: a name for every class; synsets of ImageNet are translated to words.
    """
    best = np.argsort(-label, kind="stable")[:2]
    names = [readable(class_names[place]) for place in best]
    if label[best[1:]].sum() < _SMALLEST_SHARE:
        return names[0][:_LONGEST_NAME]
    parts = (f"{name} {label[place]:.0%}" for name, place in zip(names, best, strict=True))
    return "\n".join(part[-_LONGEST_NAME:] for part in parts)


def titles(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns the names of an image's classes in one line, cut off if it is too long.

    Args:
        label: 1, or the share of a mix, for each class of the image, `(classes,)`.
        class_names: as for `title`.
    """
    there = label > _SMALLEST_SHARE
    names = [readable(name) for name, one in zip(class_names, there, strict=True) if one]
    text = ", ".join(names) or "no class"
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def _draw_map(axes, label):
    """Draws the classes of the pixels over an image; ignored pixels stay free."""
    ignored = label.sum(-1) < 0.5
    pixels = np.ma.masked_where(ignored, label.argmax(-1))
    colors = _colors(label.shape[-1])
    axes.imshow(pixels, cmap=colors, vmin=0, vmax=colors.N - 1, alpha=0.5, interpolation="nearest")


def _draw_boxes(axes, label, shape, class_names):
    """Draws the boxes of an image, each with the name of its class."""
    for *box, place in without_padding(label):
        draw_box(axes, np.array(box) * np.tile(shape[:2], 2), named(class_names[int(place)]))


def _draw_legend(figure, class_names):
    patch = import_optional("matplotlib.patches").Patch
    colors = _colors(len(class_names))
    handles = [patch(color=colors(n), label=name) for n, name in enumerate(class_names)]
    if len(handles) <= _MOST_NAMED_CLASSES:
        figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=7)


def _colors(classes):
    name, count = ("tab10", 10) if classes <= 10 else ("tab20", max(20, classes))
    return import_optional("matplotlib").colormaps[name].resampled(count)


def _first(data, recipe):
    """Returns the first images and labels: enough to fill the sheet, or a whole epoch."""
    count = _ROWS * _COLUMNS
    batches = training_batches(data.train, recipe, len(data.class_names))
    taken = list(batches.take(-(-count // recipe.schedule.batch_size)).as_numpy_iterator())
    images, labels = (np.concatenate(part)[:count] for part in zip(*taken, strict=True))
    return images, labels
