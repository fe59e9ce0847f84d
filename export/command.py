"""`regnet export`: exports a trained RegNet for servers, phones and browsers."""

import argparse
from pathlib import Path

from regnet_command import add_preprocessing_options, preprocessing_changes, run

_EPILOG = """\
examples:
  regnet train --data photos --weights regnety_016.tv2_in1k --out runs/mine
  regnet export runs/mine --out shipped

  regnet export runs/digits --out exports/digits
  regnet export regnety_032.ra_in1k --calibration photographs --out exports/regnety_032
  regnet export runs/mine --format onnx openvino --precision float32 --out exports/mine
  regnet export model.keras --precision float32 float16 --labels classes.txt --out exports/mine
  regnet verify exports/digits

MODEL is a folder that regnet train wrote, a .keras file, a weight file (with --variant), or a
tag of published weights. The command writes

  OUT/serving/NAME/VERSION   saved_model: a SavedModel for TensorFlow Serving, and configurations
  OUT/tflite                 tflite: .tflite files for phones and browsers
  OUT/onnx                   onnx: .onnx files for ONNX Runtime (float32, int8)
  OUT/openvino               openvino: OpenVINO IR for Intel's processors (float32, int8)
  OUT/web                    web: a page that classifies photographs in the browser
  OUT/report.md              accuracy, size and speed of each file (also .json and .png)

By default these are all formats but web whose packages are installed. The extras are export, onnx
and openvino: pip install 'regnet_tf[export,onnx,openvino]'. Files of other formats that an earlier
export of the same network wrote to OUT stay.

Class names and preprocessing are inside every file. The network may classify images, name several
classes of an image, segment it, or find objects; its images may be gray, RGB or RGBA. Files of
detectors return boxes and probabilities of all anchors; only the SavedModel also suppresses
overlapping ones, and their .tflite files lack what MediaPipe needs. Each file is compared with
the Keras model on crops and on whole photographs. The export fails if one is out of the bounds that
report.md lists.

Exit status: 0 after success; 1 if --keep-going left files out; 2 after an error, which leaves
existing exports unchanged."""


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
    from regnet_tf.variants import check_variant_option

    from . import exporting, report
    from .formats import Settings
    from .source import load_source

    check_variant_option(options.variant)
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
        formats=options.format,
        settings=Settings(
            precisions=options.precision,
            batch_size=options.batch,
            int8_output=options.int8_output,
            opset=options.opset,
            web_scripts=options.web_scripts,
            cdn=options.cdn,
            web_precision=options.web_precision,
        ),
        version=options.version,
        overwrite=options.overwrite,
        keep_going=options.keep_going,
        say=lambda text: print(text, flush=True),
    )
    print(report.table(facts["artefacts"], facts["classes"] > 0))
    print_paths(options.out, exporting.written(facts))
    return 1 if facts["failed"] else 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet export",
        description="Exports a RegNet for servers, phones and browsers, and checks the files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a run, a file, or a tag (see below)")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    add("--variant", metavar="NAME", help="network of a weight file: a name or a JSON file")
    add("--name", metavar="NAME", help="name on the server (default: name of MODEL)")
    add(
        "--version",
        metavar="N",
        type=int,
        help="version of the SavedModel (default: last version + 1)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace the version if it exists, and remove files of another network",
    )
    add("--labels", metavar="FILE", help="text file with one class name per line")
    add(
        "--format",
        metavar="NAME",
        nargs="+",
        help="saved_model, tflite, onnx, openvino, web (default: see above)",
    )
    add(
        "--precision",
        metavar="NAME",
        nargs="+",
        default=["float32", "float16", "dynamic_range", "int8"],
        help="float32, float16, dynamic_range, int8 (default: all that a format has)",
    )
    add(
        "--calibration",
        metavar="PATH",
        help="images for int8 and the checks: a folder or an .npz file (default: the run's)",
    )
    add(
        "--keep-going",
        action="store_true",
        help="if a file cannot be written, write the others",
    )
    add(
        "--opset",
        metavar="N",
        type=int,
        default=18,
        help="version of the operators of .onnx files (default: %(default)s)",
    )
    phones = parser.add_argument_group(".tflite files")
    phones.add_argument(
        "--batch", metavar="N", type=int, default=1, help="images per call (default: 1)"
    )
    phones.add_argument(
        "--int8-output",
        metavar="TYPE",
        default="float32",
        help="output of the int8 .tflite file: float32 (default) or uint8",
    )
    page = parser.add_argument_group("page for browsers, --format web")
    page.add_argument(
        "--web-scripts",
        metavar="DIR",
        type=Path,
        help="folder of the npm package @litertjs/core, or a node_modules with it (default: the"
        " node_modules here, then npm's global one)",
    )
    page.add_argument(
        "--cdn",
        metavar="URL",
        help="let the page fetch its scripts from URL/PACKAGE@VERSION/FILE instead",
    )
    page.add_argument(
        "--web-precision",
        metavar="NAME",
        default="float32",
        help="precision of its network (default: float32, which is exact); dynamic_range and int8"
        " are a fourth of the size and twice as fast",
    )
    add_preprocessing_options(parser)
    return parser
