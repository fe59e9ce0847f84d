"""`python -m regnet_tf`: what the library knows, on the command line."""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from regnet_tf import create_model
from regnet_tf._markdown import COST_COLUMNS, cost_cells, markdown_table
from regnet_tf._show import add_show
from regnet_tf.complexity import complexity
from regnet_tf.porting import SOURCES, to_state_dict
from regnet_tf.preprocessing import decode_predictions, load_image
from regnet_tf.readers import write_state_dict
from regnet_tf.variants import VARIANTS, list_variants
from regnet_tf.visualize import draw_predictions, grad_cam
from regnet_tf.weights import best_weights, is_tag, list_weights, preprocessing_for, weights_info


def variant_table(pattern: str = "*") -> str:
    """The variants whose timm key matches a shell-style pattern, as a markdown table."""
    columns = ["variant", "timm's key", "depth", "stage widths", "group width", *COST_COLUMNS]
    rows = []
    for key in list_variants(pattern):
        config = VARIANTS[key].config
        widths = ", ".join(str(stage.width) for stage in config.stages)
        row = [config.name, f"`{key}`", config.depth, widths, config.group_width]
        rows.append([*row, *cost_cells(complexity(config))])
    return markdown_table(columns, rows, left=(0, 1, 3))


def weights_table(pattern: str = "*") -> str:
    """The published weights whose tag matches a shell-style pattern, as a markdown table."""
    columns = ["tag", "licence", "classes", "pixels", "top-1 %", "by whom, at how many pixels"]
    rows = []
    for tag in list_weights(pattern):
        info = weights_info(tag)
        best = max(info.published, key=lambda entry: entry["top1"], default=None)
        accuracy = ("", "") if best is None else (f"{best['top1']:.2f}", _measured_by(best))
        rows.append([f"`{tag}`", info.license, info.classes, info.image_size, *accuracy])
    return markdown_table(columns, rows, left=(0, 1, 5))


def _measured_by(entry):
    return f"{entry['source']}, {entry['image_size']}"


def _variants(options):
    print(variant_table(options.pattern))


def _weights_list(options):
    print(weights_table(options.pattern))


def _weights_info(options):
    info = weights_info(options.tag)
    for field in dataclasses.fields(info):
        print(f"{field.name:18}  {getattr(info, field.name)}")


def _weights_convert(options):
    model = create_model(options.variant, weights=options.source)
    if options.target.suffix == ".keras":
        model.save(options.target)
    else:
        write_state_dict(options.target, to_state_dict(model, options.names))
    print(f"Written: {options.target}")


def _predict(options):
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


def main(arguments=None):
    """The command. Errors of the user end it with one line and status 2."""
    parser = argparse.ArgumentParser(prog="python -m regnet_tf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    variants = commands.add_parser("variants", help="the table of variants, at 224 pixels")
    variants.add_argument("pattern", nargs="?", default="*", help='such as "regnety_*"')
    variants.set_defaults(run=_variants)
    add_show(commands)
    _add_weights(commands)
    _add_predict(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, ImportError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _add_weights(commands):
    weights = commands.add_parser("weights", help="published weights: list, info, convert")
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the table of published weights")
    listing.add_argument("pattern", nargs="?", default="*", help='such as "regnety_*"')
    listing.set_defaults(run=_weights_list)
    info = actions.add_parser("info", help="all about one of them")
    info.add_argument("tag", help="such as regnety_032.ra_in1k")
    info.set_defaults(run=_weights_info)
    convert = actions.add_parser("convert", help="a weight file to another format or naming")
    convert.add_argument("variant", help="the network, by any of its names")
    convert.add_argument("source", help="a weight file, or a tag")
    convert.add_argument("target", type=Path, help="ends in .keras, .safetensors or .npz")
    convert.add_argument(
        "--names", choices=SOURCES, default="timm", help="whose names (default: timm)"
    )
    convert.set_defaults(run=_weights_convert)


def _add_predict(commands):
    predict = commands.add_parser("predict", help="what is in a picture, by published weights")
    predict.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG or PNG")
    predict.add_argument(
        "--weights", default="regnety_032", metavar="TAG", help="a tag or variant (%(default)s)"
    )
    predict.add_argument("--top", type=int, default=5, help="how many classes (default: 5)")
    predict.add_argument("--out", type=Path, metavar="FOLDER", help="also a picture of each")
    predict.add_argument(
        "--grad-cam", action="store_true", help="in FOLDER also what speaks for the first class"
    )
    predict.set_defaults(run=_predict)


if __name__ == "__main__":
    sys.exit(main())
