"""Pictures of predictions: class scores and Grad-CAM heat maps."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from regnet_tf._boxes import draw_box
from regnet_tf._checks import check, check_choice, check_number, is_int
from regnet_tf._errors import import_optional
from regnet_tf._files import replacing
from regnet_tf.layers import Stage, Stem

_LARGE = 5 / 3  # size of texts on boxes, beside that in sheets


def draw_predictions(
    image: ArrayLike, predictions: Sequence[tuple[str, str, float]], path: str | os.PathLike
) -> None:
    """Saves an image next to a bar chart of its most probable classes.

    Args:
        image: uint8 array `(height, width, 3)`.
        predictions: `(class_name, words, score)` of each class, as `decode_predictions` returns
            them for one image.
        path: path of the PNG to write.

    Raises:
        MissingPackageError: if matplotlib is not installed.

    Examples:
        >>> image = regnet_tf.load_image("photo.jpg")
        >>> predictions = [("bee", "bee", 0.8), ("ant", "ant", 0.2)]
        >>> visualize.draw_predictions(image, predictions, "picture.png")
    """
    figure = _figure((9, 4))
    picture, bars = figure.subplots(1, 2)
    picture.imshow(image)
    picture.set_axis_off()
    names = [_shortened(words.replace("_", " ")) for _, words, _ in predictions]
    scores = [score for _, _, score in predictions]
    drawn = bars.barh(range(len(names)), scores)
    bars.bar_label(drawn, [f"{score:.1%}" for score in scores], padding=3)
    bars.set_yticks(range(len(names)), names)
    for label in bars.get_yticklabels():
        label.set_parse_math(False)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.15)
    bars.set_xlabel("probability")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def draw_boxes(
    image: ArrayLike,
    objects: Sequence[tuple[ArrayLike, str, float]],
    path: str | os.PathLike,
) -> None:
    """Saves an image with boxes around objects, each with the name of its class and its score.

    Args:
        image: uint8 array `(height, width, 3)`.
        objects: `(box, words, score)` of each object; a box is top, left, bottom and right, as
            shares of the image.
        path: path of the PNG to write.

    Raises:
        MissingPackageError: if matplotlib is not installed.

    Examples:
        >>> image = regnet_tf.load_image("photo.jpg")
        >>> visualize.draw_boxes(image, [((0.1, 0.4, 0.8, 0.6), "rocket", 0.9)], "boxes.png")
    """
    image = np.asarray(image)
    figure = _figure((6, 6 * image.shape[0] / image.shape[1]))
    axes = figure.subplots()
    axes.imshow(image)
    axes.set_axis_off()
    sides = np.tile(image.shape[:2], 2)
    for box, words, score in objects:
        draw_box(axes, np.asarray(box) * sides, f"{_shortened(words)} {score:.0%}", _LARGE)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def draw_map(
    image: ArrayLike,
    classes: ArrayLike,
    class_names: Sequence[str],
    path: str | os.PathLike,
    opacity: float = 0.6,
) -> None:
    """Saves an image next to the same image under its map of classes, with a legend.

    Args:
        image: uint8 array `(height, width, 3)`.
        classes: class number of each pixel, an integer array `(height, width)`.
        class_names: names of all classes. The legend has those in the map, the largest first.
        path: path of the PNG to write.
        opacity: opacity of the map, from 0 to 1.

    Raises:
        ValueError: if the map has another size than the image.
        MissingPackageError: if matplotlib is not installed.

    Examples:
        >>> image = regnet_tf.load_image("photo.jpg")
        >>> is_bright = (image.mean(axis=-1) > 128).astype(int)
        >>> visualize.draw_map(image, is_bright, ("dark", "bright"), "map.png")
    """
    image, classes = np.asarray(image), np.asarray(classes)
    ok = classes.shape == image.shape[:2]
    check("classes", classes.shape, ok, f"a map of shape {image.shape[:2]}, as the image")
    figure = _figure((9, 4.6))
    colors = import_optional("matplotlib", extra="pictures").colormaps["tab20"]
    colors = colors.resampled(max(20, len(class_names)))
    plain, covered = figure.subplots(1, 2)
    for axes in (plain, covered):
        axes.imshow(image)
        axes.set_axis_off()
    look = {"cmap": colors, "vmin": 0, "vmax": colors.N - 1, "interpolation": "nearest"}
    covered.imshow(classes, alpha=opacity, **look)
    counts = np.bincount(classes.ravel(), minlength=len(class_names))
    shown = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
    patch = import_optional("matplotlib.patches", extra="pictures").Patch
    handles = [
        patch(color=colors(place), label=_shortened(class_names[place])) for place in shown[:15]
    ]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def _figure(size):
    figure = import_optional("matplotlib.figure", extra="pictures").Figure
    return figure(figsize=size, layout="constrained")


def _shortened(name, most=32):
    """Returns a name without its middle if it is long, in characters that can be drawn."""
    name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2) :]}"


def grad_cam(
    model: keras.Model,
    image: ArrayLike,
    class_index: int | None = None,
    layer: str | None = None,
    picture: ArrayLike | None = None,
    opacity: float = 0.5,
    path: str | os.PathLike | None = None,
) -> np.ndarray:
    """Overlays a Grad-CAM heat map on an image, from blue to red.

    Grad-CAM (Selvaraju et al. 2017) sums the channels of a feature map, each weighted by the mean
    gradient of the class's logit. The positive part is kept, and divided by its maximum.

    Args:
        model: a classifier: made by `build_regnet`, made from it by `fuse`, or another model that
            holds a RegNet's layers, also inside a nested model or behind preprocessing layers. The
            softmax or sigmoid of a final `Dense` layer is skipped.
        image: array `(height, width, channels)`, as the model takes it.
        class_index: index of the class; default: the most probable class.
        layer: level of the feature map, such as "P4", or name of a layer; default: the last level.
        picture: uint8 array `(height, width, 3)` to draw the heat map on; default: the image, with
            its values stretched to 0 to 255 if they are not uint8.
        opacity: opacity of the heat map, from 0 to 1.
        path: path of the PNG or JPEG file to write, or None.

    Returns:
        The image with the heat map, a uint8 array `(height, width, 3)`.

    Raises:
        ValueError: if an argument does not fit; the message names it.
        NotImplementedError: on Keras backends other than TensorFlow.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, input_shape=(64, 64, 3), classes=10)
        >>> image = regnet_tf.Preprocessing(image_size=64)("photo.jpg")[0]
        >>> visualize.grad_cam(model, image, class_index=3, path="heat.png").shape
        (64, 64, 3)
    """
    image = np.asarray(image)
    ok = image.ndim == 3 and 0 not in image.shape
    check("image", image.shape, ok, "one image, an array of shape (height, width, channels)")
    check_number("opacity", opacity, minimum=0)
    check("opacity", opacity, opacity <= 1, "from 0 to 1")
    picture = _as_picture(image) if picture is None else np.asarray(picture)
    ok = picture.dtype == "uint8" and picture.shape == (*image.shape[:2], 3)
    received = f"{picture.dtype} of shape {picture.shape}"
    check("picture", received, ok, f"a uint8 array of shape {(*image.shape[:2], 3)}")

    heat = class_heat(model, image, class_index, layer)
    heat = keras.ops.image.resize(
        heat[..., None], image.shape[:2], "bilinear", data_format="channels_last"
    )
    heat = keras.ops.convert_to_numpy(heat)  # H W 1
    colors = np.clip(1.5 - np.abs(4 * heat - [3, 2, 1]), 0, 1)  # H W 3: red, green, blue
    mixed = (1 - opacity) * picture + opacity * 255 * colors
    overlay = np.round(mixed).astype("uint8")
    if path is not None:
        keras.utils.save_img(path, overlay, data_format="channels_last", scale=False)
    return overlay


def class_heat(
    model: keras.Model,
    image: np.ndarray,
    class_index: int | None = None,
    layer: str | None = None,
) -> np.ndarray:
    """Returns the Grad-CAM heat map of a class at the resolution of the feature map.

    See `grad_cam` for the arguments and errors.

    Returns:
        A float32 array `(rows, columns)` of the feature map, from 0 to 1; all 0 if no pixel
        supports the class.

    Examples:
        >>> model = regnet_tf.build_regnet(tiny, input_shape=(64, 64, 3), classes=10)
        >>> image = regnet_tf.Preprocessing(image_size=64)("photo.jpg")[0]
        >>> visualize.class_heat(model, image, layer="P3").shape
        (8, 8)
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError("Grad-CAM takes its gradients on Keras' TensorFlow backend")
    import tensorflow as tf

    shape: Any = getattr(model, "output_shape", None)
    ok = isinstance(shape, tuple) and len(shape) == 2
    found = _feature_layer(model, layer)
    check("model", model.name, ok, "a classifier, of output shape (batch, classes)")
    classes = shape[1]
    ok = class_index is None or (is_int(class_index) and 0 <= class_index < classes)
    check("class_index", class_index, ok, f"None or an integer from 0 to {classes - 1}")

    last = [one for one in _layers(model) if not isinstance(one, keras.Model)][-1]
    activations = (keras.activations.softmax, keras.activations.sigmoid)
    bounded = isinstance(last, keras.layers.Dense) and last.activation in activations
    with tf.GradientTape() as tape, _recorded(found) as calls, _recorded(last) as last_calls:
        tape.watch([weight.value for weight in model.weights])  # else the tape ignores frozen ones
        scores = model(image[None], training=False)  # 1 N
        check("layer", layer, len(calls) == 1, "between the stem and the head")
        if bounded:
            scores = tf.cast(last_calls[0][0], last.compute_dtype) @ last.kernel
            scores = scores if last.bias is None else scores + last.bias
        index = int(tf.argmax(scores[0])) if class_index is None else class_index
        score = scores[0, index]
    maps = calls[0][1]  # 1 H W C
    ok = len(maps.shape) == 4
    check("layer", layer, ok, "of output shape (batch, height, width, channels)")
    gradient = tape.gradient(score, maps)
    check("layer", layer, gradient is not None, "between the stem and the head")
    weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(maps, tf.float32) * weights, axis=-1))[0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat)).numpy()


def _feature_layer(model: keras.Model, name: str | None) -> Any:
    """Returns the layer of a feature map: the last stage, or the one of a level or name."""
    layers = [one for one in _layers(model) if not isinstance(one, keras.Model)]
    own = [one for one in layers if isinstance(one, (Stem, Stage))]
    ok = bool(own) and isinstance(own[0], Stem)
    check("model", getattr(model, "name", model), ok, "a network with a RegNet's stem and stages")
    if name is None:
        return own[-1]
    named = {f"P{level}": one for level, one in enumerate(own, start=1)}
    named = {**named, **{one.name: one for one in layers}}
    check_choice("layer", name, tuple(named))
    return named[name]


def _layers(model: Any) -> Iterator[Any]:
    """Yields all layers of a model, also those of models within it."""
    for layer in getattr(model, "layers", ()):
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


@contextlib.contextmanager
def _recorded(layer: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Context manager with a list of the inputs and outputs of a layer's calls.

    It also works inside nested models, whose tensors are not part of the outer model's graph.
    """
    calls: list[tuple[Any, Any]] = []
    call, before = layer.call, vars(layer).get("call")

    def recording(inputs, *args, **kwargs):
        outputs = call(inputs, *args, **kwargs)
        calls.append((inputs, outputs))
        return outputs

    layer.call = recording
    try:
        yield calls
    finally:
        if before is None:
            del layer.call
        else:  # the same layer is recorded twice
            layer.call = before


def _as_picture(image):
    """Converts a network's input to uint8 `(height, width, 3)`."""
    if image.dtype != "uint8":
        low, high = image.min(), image.max()
        image = np.round((image - low) * (255 / max(high - low, 1e-6))).astype("uint8")
    return image if image.shape[-1] == 3 else np.repeat(image[..., :1], 3, axis=-1)
