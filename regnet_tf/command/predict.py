"""`regnet predict`: classifies photographs with published weights or a trained network."""

import argparse
from pathlib import Path

from .starting import run

_EPILOG = """\
examples:
  regnet predict photo.jpg
  regnet predict *.jpg --weights regnety_032.ra_in1k --top 3 --out pictures --grad-cam
  regnet predict *.jpg --weights runs/digits/model.keras"""


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
        description="Classifies photographs. Published weights are downloaded once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG or PNG")
    add(
        "--weights",
        default="regnety_032",
        metavar="WEIGHTS",
        help="a tag, a variant, a .keras file or a run's folder (default: %(default)s)",
    )
    add("--top", metavar="N", type=int, default=5, help="number of classes to print (default: 5)")
    add("--out", type=Path, metavar="DIR", help="also draw a picture for each photograph into DIR")
    add(
        "--grad-cam",
        action="store_true",
        help="also draw a heat map (Grad-CAM) into DIR",
    )
    return parser


def _predict(options):
    import numpy as np

    from regnet_tf._trained import load_trained
    from regnet_tf.class_names import decode_predictions
    from regnet_tf.preprocessing import load_image
    from regnet_tf.variants import is_variant
    from regnet_tf.visualize import draw_predictions, grad_cam
    from regnet_tf.weights import best_weights, preprocessing_for

    weights = options.weights
    model = load_trained(best_weights(weights) if is_variant(weights) else weights).model
    preprocessing = preprocessing_for(model)
    for path in options.images:
        scores = model(preprocessing(path), training=False)
        top = decode_predictions(scores, options.top, model)[0]
        print(path)
        for class_name, words, score in top:
            synset = "" if words == class_name else f" ({class_name})"
            print(f"  {score:7.2%}  {words}{synset}")
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
