"""`regnet evaluate`: measures accuracies of trained networks and compares published ones."""

import argparse
import csv
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from regnet_command import add_preprocessing_options, preprocessing_changes, run

if TYPE_CHECKING:
    from regnet_tf import Preprocessing

    from .evaluation.predictors import Predictor

if TYPE_CHECKING:
    from regnet_tf import Preprocessing

    from .evaluation.predictors import Predictor

_EPILOG = """\
examples:
  regnet evaluate --model runs/digits
  regnet evaluate --model regnety_032.ra_in1k --data imagenet2012
  regnet evaluate --model all --data imagenet2012 --compare-published
  regnet evaluate --model net.tflite --data photographs --image-size 224

--model accepts
  - a tag of published weights, or a pattern such as 'regnetx_*' ("all" for every tag),
  - a folder that regnet train wrote, or a .keras file,
  - a weight file, with --variant,
  - a SavedModel or a .tflite file.
--data accepts "digits", a folder with a folder of images for each class, or the name of a data set
of tensorflow-datasets. The names of its classes are matched with those of the network's classes,
such as ImageNet's synsets (n01440764 ...).

Each network gets a folder in --out, with evaluation.json, classes.csv (accuracy of each class),
confusion.csv and confusion.png. Networks that have one are not evaluated again."""

_IMAGENET = 50_000  # images of the validation set that published accuracies refer to


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    stopped = "Stopped. Run the same command again to resume."
    return run(lambda: _evaluate(options), parser, stopped)


def _evaluate(options):
    jobs = _jobs(options)
    data, split = _split(options, jobs)
    rows = [_evaluated(job, data, split, options) for job in jobs]
    if options.compare_published:
        _write_comparison(rows, options.out)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet evaluate",
        description="Measures the accuracy of trained networks on a data set.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        metavar="MODEL",
        nargs="+",
        required=True,
        help="one or more tags, patterns or paths (see below)",
    )
    add("--variant", metavar="NAME", help="network of a weight file, such as RegNetX-400MF")
    add("--data", metavar="DATA", help="data set (default: the one that the run was trained on)")
    add("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    add(
        "--split",
        choices=("test", "train"),
        default="test",
        help="split of the data set (default: test)",
    )
    add_preprocessing_options(parser)
    add(
        "--compare-published",
        action="store_true",
        help="evaluate with each published preprocessing, and print a table",
    )
    add("--batch-size", metavar="N", type=int, default=50, help="images per batch (default: 50)")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs/evaluation"),
        help="folder for the results (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="evaluate again what was evaluated before")
    return parser


@dataclasses.dataclass(frozen=True)
class Job:
    """One network in one setting.

    Attributes:
        model: tag or path.
        folder: folder for the results, below `--out`.
        preprocessing: None for the network's own.
        published: published accuracy to compare with, an entry of the weights' table, or None.
    """

    model: str
    folder: str
    preprocessing: "Preprocessing | None" = None
    published: dict | None = None


def _jobs(options):
    """Returns the jobs that the command line asks for."""
    from regnet_tf._errors import UserError, nearest
    from regnet_tf.weights import is_tag, list_weights, weights_info

    tags: list[str] = []
    for name in options.model:
        pattern = "*" if name == "all" else name
        matched = [pattern] if is_tag(pattern) or Path(name).exists() else list_weights(pattern)
        if not matched:
            raise UserError(
                f"`model` must be a tag of published weights, a pattern of them, or a path."
                f" Received: {name!r}.{nearest(name, list_weights())}"
            )
        tags += matched
    if not options.compare_published:
        return [Job(tag, _folder_name(tag)) for tag in dict.fromkeys(tags)]
    jobs = []
    for tag in dict.fromkeys(tags):
        if not is_tag(tag):
            raise UserError(f"No accuracy is published for {tag}.")
        for entry in weights_info(tag).published:
            preprocessing = _published_setting(weights_info(tag), entry)
            folder = f"{tag}/{entry['source']}_{preprocessing.image_size}"
            jobs.append(Job(tag, folder, preprocessing, entry))
    if not jobs:
        raise UserError(f"No accuracy is published for {', '.join(tags)}.")
    return jobs


def _folder_name(model):
    """Returns the folder name of a model: a tag itself, or the last parts of a path."""
    path = Path(model)
    name = path.parent.name + "_" + path.stem if path.stem == "model" else path.name
    return re.sub(r"[^\w.-]", "_", name.strip("_")) or "model"


def _published_setting(info, entry):
    """Returns the preprocessing of a published accuracy."""
    from regnet_tf import Preprocessing

    by_pycls = "no antialiasing" in entry["interpolation"]
    return Preprocessing(
        image_size=entry["image_size"],
        crop_fraction=entry.get("crop_fraction"),
        resize_size=entry.get("resize_size"),
        interpolation="pycls" if by_pycls else entry["interpolation"],
        mean=info.mean,
        std=info.std,
    )


def _split(options, jobs):
    """Loads the data set; returns it with the requested split. Runs before networks are loaded."""
    from regnet_tf._errors import UserError

    from .data import load

    name = options.data or _trained_on(jobs[0].model)
    data = load(name, options.data_dir)
    split = getattr(data, options.split)
    if split is None:
        raise UserError(f"{name} has no images in the split {options.split!r}.")
    if options.compare_published and split.size != _IMAGENET:
        print(
            f"Published accuracies are of the {_IMAGENET:,} images of ImageNet's validation set;"
            f" {name} has {split.size:,}.",
            file=sys.stderr,
        )
    return data, split


def _trained_on(model):
    from regnet_tf._errors import UserError
    from regnet_tf._files import read_json

    run = Path(model) / "run.json"
    if not run.is_file():
        raise UserError("`data` must be given, unless the model is a run of `regnet train`.")
    data = read_json(run, "data")["data"]
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise UserError(f"{run} is damaged: it does not name its data set")
    return data["name"]


_KEYS = ("model", "data", "split", "images", "top1", "top5", "images_per_second", "preprocessing")
_loaded: "dict[str, Predictor]" = {}  # the last network; the next job may use it in another setting


def _predictor(model, variant):
    import keras

    from .evaluation.predictors import load_predictor

    if model not in _loaded:
        _loaded.clear()
        keras.backend.clear_session()
        _loaded[model] = load_predictor(model, variant)
    return _loaded[model]


def _evaluated(job, data, split, options):
    """Evaluates a network in a setting, writes the results and returns `evaluation.json`."""
    from regnet_tf._files import print_paths

    from .evaluation import counting

    folder = options.out / job.folder
    wanted = {"model": job.model, "data": data.name, "split": options.split, "images": split.size}
    done = None if options.overwrite else _finished(folder)
    if done is not None and not preprocessing_changes(options) and _is_of(done, wanted, job):
        print(f"{_line(done, job)} (evaluated earlier)", flush=True)
        return {**done, "published": job.published}
    predictor = _predictor(job.model, options.variant)
    preprocessing = _setting(job, predictor, options)
    outputs = counting.output_names(predictor)
    labels = counting.match_classes(data.class_names, predictor.classes, outputs)
    if labels is None and outputs and tuple(outputs) != tuple(data.class_names):
        pair = f"{data.class_names[0]!r} is the network's {outputs[0]!r}"
        print(f"The names differ, so classes are matched by order: {pair} ...")
    print(f"{job.model} on {split.size:,} images of {data.name}, {_describe(preprocessing)}")
    verbose = 1 if sys.stdout.isatty() else 0
    counted = counting.evaluate(
        predictor, split, preprocessing, options.batch_size, labels, verbose
    )
    result = {**wanted, **counted, "preprocessing": preprocessing.to_dict()}
    result = counting.write_evaluation(folder, result, data.class_names, labels, outputs)
    print(_line(result, job))
    print_paths(folder, counting.FILES)
    return {**result, "published": job.published}


def _finished(folder):
    """Returns the result of an earlier evaluation if it finished, else None."""
    from regnet_tf._files import read_json

    file = folder / "evaluation.json"
    return read_json(file, *_KEYS) if file.is_file() else None


def _is_of(result, wanted, job):
    """Returns whether a result has the wanted facts and the preprocessing of a job."""
    same = all(result[key] == value for key, value in wanted.items())
    return same and job.preprocessing in (None, _preprocessing_of(result))


def _preprocessing_of(result):
    from regnet_tf import Preprocessing

    return Preprocessing.from_dict(result["preprocessing"])


def _setting(job, predictor, options):
    """Returns the preprocessing for a network, with the changes of the command line."""
    from regnet_tf import Preprocessing
    from regnet_tf._errors import UserError

    preprocessing = job.preprocessing or predictor.preprocessing
    if preprocessing is None:
        print(f"{predictor.name} does not know its preprocessing; ImageNet's is assumed.")
        preprocessing = Preprocessing(image_size=predictor.image_size or 224)
    preprocessing = preprocessing.replace(**preprocessing_changes(options))
    if predictor.image_size not in (None, preprocessing.image_size):
        raise UserError(
            f"`image_size` must be {predictor.image_size}, the only size that {predictor.name}"
            f" accepts. Received: image_size={preprocessing.image_size}"
        )
    return preprocessing


def _describe(preprocessing):
    return (
        f"{preprocessing.image_size} of {preprocessing.shorter_side} pixels,"
        f" {preprocessing.interpolation}"
    )


def _line(result, job):
    """Returns a result in one line."""
    top5 = "" if result["top5"] is None else f", top-5 {result['top5']:.3f} %"
    text = (
        f"{result['model']}: top-1 {result['top1']:.3f} %{top5},"
        f" {result['images_per_second']:.0f} images/s"
    )
    if job.published:
        text += f" (published by {job.published['source']}: {job.published['top1']:.3f} %)"
    return text


_COLUMNS = ("model", "by", "pixels", "of", "interpolation", "published", "here", "difference")


def _write_comparison(rows, out):
    """Prints and writes the table of published and measured accuracies."""
    from regnet_tf._files import print_paths, replacing
    from regnet_tf._markdown import markdown_table

    table = []
    for row in rows:
        published, preprocessing = row["published"], _preprocessing_of(row)
        table.append(
            (
                row["model"],
                published["source"],
                preprocessing.image_size,
                preprocessing.shorter_side,
                preprocessing.interpolation,
                f"{published['top1']:.3f}",
                f"{row['top1']:.3f}",
                f"{row['top1'] - published['top1']:+.3f}",
            )
        )
    text = markdown_table(_COLUMNS, table, left=(0, 1, 4))
    with replacing(out / "published.md") as path:
        path.write_text(f"{text}\n")
    with replacing(out / "published.csv") as path, path.open("w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *table])
    print(text)
    print_paths(out, {"published.md": "this table", "published.csv": "the same"})


if __name__ == "__main__":
    sys.exit(main())
