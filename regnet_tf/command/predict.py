"""`regnet predict`: names the classes of photographs with any network."""

import argparse
import sys
from pathlib import Path

from .preparation import add_preprocessing_options, preprocessing_changes
from .starting import run

_DEFAULT = "regnety_032"
_EPILOG = f"""\
examples:
  regnet predict photo.jpg
  regnet predict runs/mine new.jpg folder/ --out pictures --csv predictions.csv
  regnet predict regnety_032.ra_in1k *.jpg --top 3 --out pictures --grad-cam
  regnet predict shipped/tflite/mine_float32.tflite photo.jpg
  regnet predict resnet.onnx photo.jpg --image-size 224

The first word is the network if it is a tag or variant of published weights, a folder that regnet
train wrote, a .keras file, or an exported file: the folder of a SavedModel, .tflite, .onnx, or the
.xml of an OpenVINO IR. Otherwise {_DEFAULT} is used, whose weights are downloaded once. All
other words are images, or folders of images at any depth.

Exported files may come from other programs. Their runtimes are installed by the extras export
(.tflite), onnx and openvino: pip install 'regnet_tf[onnx]'.

Networks of several classes an image print every class above one half. Segmentation networks print
the share of each class, and write a mask with a gray level for each class number. Detectors print
the box of each object above one half, in pixels of the photograph. Exit status: 1 if an image could
not be read."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    only_prints = options.out is None and options.csv is None
    return run(lambda: _predict(options), parser, only_prints=only_prints)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet predict",
        description="Names the classes of photographs.",
        usage="regnet predict [-h] [options] [NETWORK] IMAGE [IMAGE ...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "words",
        nargs="+",
        metavar="IMAGE",
        help="image file, or folder of images; the first one may be the network",
    )
    add("--top", metavar="N", type=int, default=5, help="number of classes to print (default: 5)")
    add("--out", type=Path, metavar="DIR", help="also draw a picture of each photograph into DIR")
    add("--csv", type=Path, metavar="FILE", help="also write the predictions as a table")
    add("--grad-cam", action="store_true", help="also draw a heat map (Grad-CAM) into DIR")
    add(
        "--labels",
        type=Path,
        metavar="FILE",
        help="names of the network's classes, one a line, in the order of its outputs",
    )
    add("--batch-size", metavar="N", type=int, default=32, help="images per batch (default: 32)")
    add_preprocessing_options(parser)
    return parser


def _predict(options):
    from regnet_tf._checks import check, check_int
    from regnet_tf._errors import import_optional

    from .predicting import Predictions

    check_int("--top", options.top, minimum=1)
    check_int("--batch-size", options.batch_size, minimum=1)
    allowed = "given with --out, the folder for its pictures"
    check("--grad-cam", options.grad_cam, options.out is not None or not options.grad_cam, allowed)
    if options.out is not None:
        import_optional("matplotlib.figure", extra="pictures")
    network, words = _split(options.words)
    images = list(_images(words))
    predictions = Predictions(_opened(network, options), options)
    failed = predictions.run(images)
    if failed:
        print(f"{failed} of {len(images)} images could not be read.", file=sys.stderr)
    return int(failed > 0)


def _split(words):
    """Returns the network and the words for images."""
    from regnet_tf._errors import UserError, nearest
    from regnet_tf._opening import is_network
    from regnet_tf.published import list_weights
    from regnet_tf.variants import VARIANTS, is_variant

    first, *others = words
    path = Path(first)
    if is_network(first) or (is_variant(first) and not path.exists()):
        if not others:
            raise UserError(f"Give images after the network {first}.")
        return first, others
    if others and not path.exists():
        near = nearest(first, [*list_weights(), *VARIANTS])
        raise UserError(f"There is no network and no image {first!r}.{near}")
    return _DEFAULT, words


def _images(words):
    """Yields the paths of all images; folders are searched at any depth, without hidden files."""
    from regnet_tf._errors import UserError, printable
    from regnet_tf._files import IMAGE_SUFFIXES
    from regnet_tf._folders import images_below

    for word in words:
        path = Path(word)
        if not path.is_dir():
            yield path
            continue
        found = [path / name for name in images_below(path).images]
        if not found:
            raise UserError(f"{printable(path)} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        yield from found


def _opened(network, options):
    """Opens the network, prints what is assumed about it, and returns its `Predictor`."""
    from regnet_tf._errors import UserError
    from regnet_tf._opening import open_predictor
    from regnet_tf._predictors import with_names, with_preprocessing
    from regnet_tf.published import best_weights
    from regnet_tf.variants import is_variant

    source = network if Path(network).exists() or not is_variant(network) else best_weights(network)
    predictor = with_names(open_predictor(source), options.labels)
    predictor = with_preprocessing(predictor, preprocessing_changes(options))
    if predictor.class_names is None:
        raise UserError(
            f"{predictor.name} does not know the names of its {predictor.classes} classes."
            " --labels FILE gives them in the order of its outputs, one a line."
        )
    if options.grad_cam and predictor.model is None:
        raise UserError(f"--grad-cam needs a Keras model. {predictor.name} is in another format.")
    if options.grad_cam and predictor.named == "boxes":
        raise UserError(f"--grad-cam needs a classifier. {predictor.name} is a detector.")
    for line in predictor.assumed:
        print(line)
    return predictor
