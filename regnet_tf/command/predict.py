"""`regnet predict`: classifies photographs with published weights."""

import argparse
from pathlib import Path

from .starting import run

_EPILOG = """\
examples:
  regnet predict photo.jpg
  regnet predict *.jpg --weights regnety_032.ra_in1k --top 3 --out pictures --grad-cam"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _predict(options), parser)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet predict",
        description="Classifies photographs with published weights, which are downloaded once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG or PNG")
    add(
        "--weights",
        default="regnety_032",
        metavar="TAG",
        help="tag or variant (default: %(default)s)",
    )
    add("--top", metavar="N", type=int, default=5, help="number of classes to print (default: 5)")
    add("--out", type=Path, metavar="DIR", help="also draw a picture for each photograph into DIR")
    add(
        "--grad-cam",
        action="store_true",
        help="also draw a Grad-CAM heat map of the first class into DIR",
    )
    return parser


def _predict(options):
    import numpy as np

    from regnet_tf.models import create_model
    from regnet_tf.preprocessing import decode_predictions, load_image
    from regnet_tf.visualize import draw_predictions, grad_cam
    from regnet_tf.weights import best_weights, is_tag, preprocessing_for

    weights = options.weights
    tag = weights if is_tag(weights) else best_weights(weights)
    model = create_model(tag, weights=True)
    preprocessing = preprocessing_for(tag)
    for path in options.images:
        top = decode_predictions(model(preprocessing(path), training=False), options.top)[0]
        print(path)
        for synset, name, score in top:
            print(f"  {score:7.2%}  {name} ({synset})")
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            target = options.out / f"{path.stem}.png"
            draw_predictions(load_image(path), top, target)
            print(f"  {target}")
        if options.out and options.grad_cam:
            target = options.out / f"{path.stem}_grad_cam.png"
            crop = np.round(preprocessing.resize_and_crop(load_image(path))).astype("uint8")
            grad_cam(model, preprocessing.normalize(crop), picture=crop, path=target)
            print(f"  {target}")
