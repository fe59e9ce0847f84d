"""`regnet weights`: lists, describes and converts weights, and shares trained networks."""

import argparse
import dataclasses
from pathlib import Path

from regnet_tf._markdown import markdown_table
from regnet_tf.sources import SOURCES

from .pushing import add_push
from .starting import run

_EPILOG = """\
examples:
  regnet weights list "regnety_032.*"
  regnet weights info regnety_032.ra_in1k
  regnet weights convert regnetx_002.pycls_in1k x200.keras
  regnet weights convert regnety_032.ra_in1k --to keras_hub presets/regnety_032
  regnet weights convert checkpoint.pth y.npz --variant regnety_032 --names torchvision
  regnet weights push runs/mine hf://user/name"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    only_prints = options.run in (_list, _info)
    return run(lambda: options.run(options), parser, only_prints=only_prints)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet weights",
        description="Lists and converts published weights, and shares trained networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print the table of published weights")
    listing.add_argument(
        "pattern", nargs="?", default="*", help='shell-style pattern of tags, such as "regnety_*"'
    )
    listing.set_defaults(run=_list)
    info = actions.add_parser("info", help="print all facts about one tag")
    info.add_argument("tag", help="tag, such as regnety_032.ra_in1k")
    info.set_defaults(run=_info)
    convert = actions.add_parser(
        "convert", help="convert weights to another format, naming or library"
    )
    convert.add_argument("source", help="a tag, a run, or a file of weights")
    convert.add_argument(
        "target",
        type=Path,
        help="path that ends in .keras, .safetensors or .npz; a folder with --to keras_hub",
    )
    convert.add_argument(
        "--to",
        choices=("file", "keras_hub"),
        default="file",
        help="what to write: a file, or a preset of KerasHub (default: file)",
    )
    convert.add_argument(
        "--variant",
        metavar="NAME",
        help="network by any of its names; needed where the source does not tell it",
    )
    convert.add_argument(
        "--names",
        choices=SOURCES,
        default="timm",
        help="library whose names to use in .safetensors and .npz files (default: timm)",
    )
    convert.set_defaults(run=_convert)
    add_push(actions)
    return parser


def _list(options):
    from regnet_tf._errors import UserError, nearest
    from regnet_tf.published import list_weights

    if not list_weights(options.pattern):
        near = nearest(options.pattern, list_weights(), count=4)
        raise UserError(f"No tag of published weights matches {options.pattern!r}.{near}")
    print(weights_table(options.pattern))


def _info(options):
    from regnet_tf.published import weights_info

    info = weights_info(options.tag)
    for field in dataclasses.fields(info):
        if field.name != "published":
            print(f"{field.name:18}  {getattr(info, field.name)}")
    if info.published:
        print(f"\nPublished accuracies:\n\n{_accuracies_table(info)}")


def _convert(options):
    from regnet_tf._errors import UserError, import_optional
    from regnet_tf.models import build_regnet
    from regnet_tf.sharing.folder import write_keras_hub
    from regnet_tf.variants import check_variant_option
    from regnet_tf.weights import Checkpoint

    check_variant_option(options.variant)
    if options.to == "keras_hub":
        import_optional("keras_hub", extra="keras_hub")  # before the weights are read
    checkpoint = Checkpoint.find(options.source, options.variant)
    config = options.variant or checkpoint.config
    if config is None:
        raise UserError(f"{options.source} does not tell its network. Give --variant NAME.")
    model = build_regnet(
        config,
        include_top=checkpoint.classes > 0,
        weights=checkpoint,
        input_shape=(None, None, checkpoint.channels),
    )
    if options.to == "keras_hub":
        write_keras_hub(model, options.source, options.target)
    else:
        _write_file(model, options.target, options.names)
    print(f"Written: {options.target}")


def _write_file(model, target, names):
    from regnet_tf._files import replacing
    from regnet_tf.porting import to_state_dict
    from regnet_tf.readers import write_state_dict

    if target.suffix == ".keras":
        with replacing(target) as path:
            model.save(path)
    else:
        write_state_dict(target, to_state_dict(model, names))


def weights_table(pattern: str = "*") -> str:
    """Returns a markdown table of the weights whose tag matches a shell-style pattern.

    It has the best published top-1 accuracy on each data set.
    """
    from regnet_tf.published import IMAGENET, PUBLISHED_SETS, list_weights, weights_info

    others = {name: one.title for name, one in PUBLISHED_SETS.items() if name != IMAGENET}
    columns = ["tag", "licence", "classes", "pixels", "top-1 %", "measured by, pixels"]
    rows = []
    for tag in list_weights(pattern):
        info = weights_info(tag)
        best = info.best_accuracy()
        by = "" if best is None else f"{best['source']}, {best['image_size']}"
        row = [f"`{tag}`", info.licence, info.classes, info.image_size, _top1(best), by]
        rows.append([*row, *(_top1(info.best_accuracy(name)) for name in others)])
    return markdown_table([*columns, *others.values()], rows, left=(0, 1, 5))


def _top1(entry):
    return "" if entry is None else f"{entry['top1']:.2f}"


def _accuracies_table(info):
    from regnet_tf.published import PUBLISHED_SETS

    columns = ["data set", "measured by", "pixels", "top-1 %", "top-5 %"]
    rows = [
        [
            PUBLISHED_SETS[entry["dataset"]].title,
            entry["source"],
            entry["image_size"],
            f"{entry['top1']:.3f}",
            f"{entry['top5']:.3f}",
        ]
        for entry in info.published
    ]
    return markdown_table(columns, rows, left=(0, 1))
