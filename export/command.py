"""`regnet export`: exports a trained RegNet for TensorFlow Serving and for phones."""

import argparse
from pathlib import Path

from regnet_command import add_preprocessing_options, preprocessing_changes, run

_EPILOG = """\
examples:
  regnet train --data photos --weights regnety_016.tv2_in1k --out runs/mine
  regnet export runs/mine --out shipped

  regnet export runs/digits --out exports/digits
  regnet export regnety_032.ra_in1k --calibration photographs --out exports/regnety_032
  regnet export model.keras --precision float32 float16 --labels classes.txt --out exports/mine
  regnet verify exports/digits

MODEL is a folder that regnet train wrote, a .keras file, a weight file (with --variant), or a
tag of published weights. The command writes

  OUT/serving/NAME/VERSION   a SavedModel for TensorFlow Serving, and configuration files
  OUT/tflite                 .tflite files for phones
  OUT/report.md              accuracy, size and speed of each file (also .json and .png)

Class names and preprocessing are inside every file: labels.txt and facts.json, in the
SavedModel's assets.extra and in the archive of the .tflite files. The network may classify images,
name several classes of an image, or segment it; its images may be gray, RGB or RGBA. Each file is
compared with the Keras model on crops and on whole photographs. The export fails if one is out of
the bounds that report.md lists.

Exit status: 0 after success; 2 after an error, which leaves existing exports unchanged."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    return run(lambda: _export(options), parser)


def _export(options):
    from regnet_tf._files import print_paths

    from . import exporting, report
    from .source import load_source

    source = load_source(
        options.model,
        variant=options.variant,
        name=options.name,
        labels=options.labels,
        calibration=options.calibration,
        **preprocessing_changes(options),
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
        description="Exports a RegNet for TensorFlow Serving and for phones, and checks the files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a run, a file, or a tag (see below)")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    add("--variant", metavar="NAME", help="network of a weight file, such as RegNetX-400MF")
    add("--name", metavar="NAME", help="name on the server (default: name of MODEL)")
    add(
        "--version",
        metavar="N",
        type=int,
        help="version of the SavedModel (default: last version + 1)",
    )
    add("--overwrite", action="store_true", help="replace the version if it exists")
    add("--labels", metavar="FILE", help="text file with one class name per line")
    phones = parser.add_argument_group(".tflite files for phones")
    precisions = ["float32", "float16", "dynamic_range", "int8"]
    phones.add_argument(
        "--precision",
        metavar="NAME",
        nargs="*",
        default=precisions,
        help=f"{', '.join(precisions)} (default: all)",
    )
    phones.add_argument(
        "--calibration",
        metavar="PATH",
        help="images for int8 and the checks: a folder or an .npz file (default: the run's)",
    )
    phones.add_argument(
        "--batch", metavar="N", type=int, default=1, help="images per call (default: 1)"
    )
    phones.add_argument(
        "--int8-output",
        metavar="TYPE",
        default="float32",
        help="output of the int8 file: float32 (default) or uint8",
    )
    add_preprocessing_options(parser)
    return parser
