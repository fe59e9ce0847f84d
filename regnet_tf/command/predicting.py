"""Predictions for many photographs: printed, as pictures and as a table."""

import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regnet_tf._errors import first_line, printable

_QUIET = 20  # with a table, more images than this are not printed


class Predictions:
    """Names the classes of photographs.

    Args:
        predictor: a `regnet_tf._predictors.Predictor`, with preprocessing and class names.
        options: of the command line: `top`, `out`, `csv`, `grad_cam` and `batch_size`.
    """

    def __init__(self, predictor, options):
        self._predictor = predictor
        self._options = options
        self._targets = Targets()
        self._rows = [self._header()]

    def run(self, paths):
        """Predicts, and writes what the options ask for.

        Args:
            paths: list of `Path`, the images.

        Returns:
            The number of images that could not be read. Each is told on standard error.
        """
        import keras

        from regnet_tf._files import write_csv

        quiet = self._options.csv is not None and len(paths) > _QUIET
        bar = keras.utils.Progbar(len(paths), unit_name="image") if quiet else None
        if self._options.out:
            self._options.out.mkdir(parents=True, exist_ok=True)
        if self._options.csv:
            self._options.csv.parent.mkdir(parents=True, exist_ok=True)
        failed = 0
        for start in range(0, len(paths), self._options.batch_size):
            batch = paths[start : start + self._options.batch_size]
            loaded = [self._load(path) for path in batch]
            errors = [one for one in loaded if isinstance(one, str)]
            for error in errors:
                print(f"regnet predict: {error}", file=sys.stderr)
            failed += len(errors)
            found = zip(batch, loaded, strict=True)
            read = [_Read(path, *one) for path, one in found if not isinstance(one, str)]
            self._batch(read, print if bar is None else lambda text: None)
            if bar is not None:
                bar.add(len(batch))
        if self._options.csv:
            write_csv(self._options.csv, self._rows)
            print(f"{len(self._rows) - 1} predictions: {self._options.csv}")
        return failed

    def _load(self, path):
        """Returns the image and the network's input, or why it cannot be read."""
        from regnet_tf.preprocessing import load_image

        settings = self._predictor.preprocessing
        try:
            form = settings.channels, settings.exif_orientation, settings.max_pixels
            image = load_image(path, *form)
            return image, np.asarray(self._predictor.prepare(image))
        except (ValueError, OSError) as error:
            return first_line(error)

    def _batch(self, batch, say):
        """Predicts the images of a batch, a list of `_Read`."""
        from regnet_tf._predictors import THRESHOLD

        if not batch:
            return
        scores = self._predictor.scores(np.stack([one.inputs for one in batch]))
        for one, values in zip(batch, scores, strict=True):
            say(printable(one.path))
            found = self._found(values)
            for name, words, score, *box in found:
                synset = "" if words == name else f" ({name})"
                place = f"  {_place(one.image, *box)}" if box else ""
                say(printable(f"  {score:7.2%}  {words}{synset}{place}"))
            if not found:
                what = "object" if self._predictor.named == "boxes" else "class"
                say(f"  no {what} above {THRESHOLD:.0%}")
            self._rows.append((str(one.path), *self._cells(found, one.image)))
            if self._options.out:
                for target in self._draw(one, values, found):
                    say(f"  {printable(target)}")

    def _found(self, scores):
        """Returns `(name, words, number)` of classes; of objects also the box."""
        ways = {"pixels": self._shares, "boxes": self._objects, "images": self._ranked}
        return ways[self._predictor.named](scores)

    def _objects(self, outputs):
        """Returns `(name, words, score, box)` of the objects above one half, the best first."""
        from regnet_tf._boxes import detections
        from regnet_tf._predictors import THRESHOLD

        rows = detections(outputs[None])[0]
        return [(*self._named(int(row[5]), row[4]), row[:4]) for row in rows if row[4] > THRESHOLD]

    def _ranked(self, scores):
        """Returns `(name, words, score)` of the best classes, or of all above one half."""
        from regnet_tf._predictors import THRESHOLD

        order = np.argsort(-scores, kind="stable").tolist()
        if self._predictor.independent:
            order = [place for place in order if scores[place] > THRESHOLD]
        else:
            order = order[: self._options.top]
        return [self._named(place, scores[place]) for place in order]

    def _shares(self, scores):
        """Returns `(name, words, share of pixels)` of the classes in a map, the largest first."""
        counts = np.bincount(scores.argmax(-1).ravel(), minlength=self._predictor.classes)
        order = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
        return [self._named(place, counts[place] / counts.sum()) for place in order]

    def _named(self, place, score):
        from regnet_tf.class_names import readable

        name = self._predictor.class_names[place]
        return name, readable(name), float(score)

    def _header(self):
        if self._joins:
            numbers = "shares" if self._predictor.of_pixels else "probabilities"
            boxes = ("boxes",) if self._predictor.named == "boxes" else ()
            return ("image", "predictions", numbers, *boxes)
        count = min(self._options.top, self._predictor.classes)
        ends = ("", *(f"_{number}" for number in range(2, count + 1)))
        return "image", *(f"{one}{end}" for end in ends for one in ("prediction", "probability"))

    def _cells(self, found, image):
        pairs = [(name, f"{score:.6f}") for name, _, score, *_ in found]
        if self._joins:
            cells = [";".join(pair[part] for pair in pairs) for part in (0, 1)]
            places = [_place(image, *box) for _, _, _, *box in found if box]
            return [*cells, ";".join(places)] if self._predictor.named == "boxes" else cells
        return [one for pair in pairs for one in pair]

    @property
    def _joins(self):
        """Whether an image may have any number of classes, which share a cell of the table."""
        return self._predictor.named != "images" or self._predictor.independent

    def _draw(self, one, scores, found):
        """Draws the pictures of an image; returns their paths."""
        from regnet_tf.visualize import draw_boxes, draw_map, draw_predictions

        stem = self._targets.stem(one.path)
        picture = self._options.out / f"{stem}.png"
        if self._predictor.of_pixels:
            mask = self._options.out / f"{stem}_mask.png"
            classes = scores.argmax(-1)
            names = self._predictor.class_names
            draw_map(self._predictor.picture(one.inputs), classes, names, picture)
            _write_png(classes[..., None].astype("uint8" if len(names) <= 256 else "uint16"), mask)
            return picture, mask
        if self._predictor.named == "boxes":
            draw_boxes(
                _rgb(one.image), [(box, words, score) for _, words, score, box in found], picture
            )
            return (picture,)
        draw_predictions(_rgb(one.image), found[: self._options.top], picture)
        if not self._options.grad_cam:
            return (picture,)
        heat = self._options.out / f"{stem}_grad_cam.png"
        _write_png(self._predictor.heat_map(one.inputs, int(scores.argmax())), heat)
        return picture, heat


def _place(image, box):
    """Returns the box of an object in an image in words, in pixels."""
    height, width = image.shape[:2]
    sides = np.round(box * [height, width, height, width], 1)
    names = ("top", "left", "bottom", "right")
    return " ".join(f"{name} {side:g}" for name, side in zip(names, sides.tolist(), strict=True))


class Targets:
    """Names of pictures that are different for each photograph."""

    def __init__(self):
        self._used: set[str] = set()

    def stem(self, path):
        """Returns the photograph's name without suffix, with a number if it is used already."""
        stem = path.stem
        for number in itertools.count(2):
            names = {f"{stem}{end}".lower() for end in ("", "_mask", "_grad_cam")}
            if self._used.isdisjoint(names):
                self._used |= names
                return stem
            stem = f"{path.stem}_{number}"


class _Read(NamedTuple):
    """A photograph: its path, the image, and the network's input."""

    path: Path
    image: np.ndarray
    inputs: np.ndarray


def _write_png(image, path):
    import tensorflow as tf

    from regnet_tf._files import replacing

    with replacing(path) as partial:
        partial.write_bytes(tf.io.encode_png(image).numpy())


def _rgb(image):
    return image[..., :3] if image.shape[-1] in (3, 4) else np.repeat(image[..., :1], 3, -1)
