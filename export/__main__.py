"""`regnet export`: exports a trained RegNet for TensorFlow Serving and for phones."""

import argparse
import sys
from pathlib import Path

from regnet_command import run, start_tensorflow

_EPILOG = """\
examples:
  regnet export runs/digits --out exports/digits
  regnet export regnety_032.ra_in1k --calibration photographs --out exports/regnety_032
  regnet export model.keras --precision float32 float16 --labels classes.txt --out exports/mine
  regnet verify exports/digits

MODEL is a folder that regnet train wrote, a .keras file, a weight file (with --variant), or a
tag of published weights. What is written:

  OUT/serving/NAME/VERSION   a SavedModel for TensorFlow Serving, with configuration beside
  OUT/tflite                 .tflite files for phones, with the names of the classes inside
  OUT/report.md              how exact and how fast each file is (.json and .png too)

Exit status: 0 if it worked, 2 if something asked for is not possible; nothing is changed then."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _export(options), parser)


def _export(options):
    start_tensorflow()
    from regnet_tf._files import print_paths

    from . import exporting, report
    from .source import load_source

    source = load_source(
        options.model,
        variant=options.variant,
        name=options.name,
        labels=options.labels,
        calibration=options.calibration,
        image_size=options.image_size,
        crop_fraction=options.crop_fraction,
        resize_size=options.resize_size,
        interpolation=options.interpolation,
    )
    facts = exporting.export(
        source,
        options.out,
        precisions=options.precision,
        version=options.version,
        overwrite=options.overwrite,
        batch_size=options.batch,
        int8_output=options.int8_output,
        say=lambda text: print(text, flush=True),
    )
    print(report.table(facts["artefacts"], facts["classes"] > 0))
    serving = {f"serving/{facts['name']}/{facts['version']}": "SavedModel", **exporting.SERVING}
    print_paths(options.out, {**serving, **exporting.FILES})


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet export",
        description="Writes a trained RegNet for TensorFlow Serving and for phones, and checks it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a run, file, or tag")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    add("--variant", metavar="NAME", help="the network of a weight file")
    add("--name", metavar="NAME", help="to serve it by (default: that of MODEL)")
    add("--version", metavar="N", type=int, help="of the SavedModel (default: the next one)")
    add("--overwrite", action="store_true", help="replace that version if it is there")
    add("--labels", metavar="FILE", help="the name of a class in each line")
    phones = parser.add_argument_group("for phones")
    precisions = ["float32", "float16", "dynamic_range", "int8"]
    phones.add_argument(
        "--precision",
        metavar="NAME",
        nargs="*",
        default=precisions,
        help=f"of {', '.join(precisions)} (default: all)",
    )
    phones.add_argument(
        "--calibration",
        metavar="PATH",
        help="for int8 and the checks: folder of photographs or .npz (default: what a run kept)",
    )
    phones.add_argument("--batch", metavar="N", type=int, default=1, help="images (default: 1)")
    phones.add_argument(
        "--int8-output",
        metavar="TYPE",
        default="float32",
        help="of the int8 file: float32 (default) or uint8",
    )
    setting = parser.add_argument_group(
        "how images are prepared (default: as the run or the weights' source does it)"
    )
    setting.add_argument("--image-size", metavar="N", type=int, help="pixels")
    crop = setting.add_mutually_exclusive_group()
    crop.add_argument("--crop-fraction", metavar="F", type=float, help="of the shorter side")
    crop.add_argument("--resize-size", metavar="N", type=int, help="of the shorter side, instead")
    setting.add_argument("--interpolation", metavar="NAME", help="bilinear, bicubic or pycls")
    return parser


if __name__ == "__main__":
    sys.exit(main())
