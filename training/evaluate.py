"""`regnet evaluate`: measures trained networks and compares published accuracies."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from regnet_command import add_preprocessing_options, preprocessing_changes, run, start

if TYPE_CHECKING:
    from regnet_tf._predictors import Predictor

_EPILOG = """\
examples:
  regnet evaluate runs/mine
  regnet evaluate runs/mine --data photos/test --grad-cam
  regnet evaluate regnety_032.ra_in1k --data imagenet2012
  regnet evaluate all --data imagenet2012 --compare-published
  regnet evaluate regnetz_d8.ra3_in1k --data imagenet_a --compare-published
  regnet evaluate regnety_032.ra_in1k --data val --real-labels real.json
  regnet evaluate net.tflite --data photos/test --labels labels.txt

MODEL is one of
  - a tag of published weights, or a pattern such as 'regnetx_*' ("all" for every tag),
  - a folder that regnet train wrote, or a .keras file,
  - a weight file, with --variant,
  - an exported file, also of another program: the folder of a SavedModel, .tflite, .onnx, or the
    .xml of an OpenVINO IR.
The extras export, onnx and openvino install what runs .tflite, .onnx and .xml:
pip install 'regnet_tf[onnx]'.
--data accepts "digits", a folder with a folder of images for each class, or any other data set that
regnet train accepts. Without it, a run is tested on the images that its training held out.
Classes are matched by name with the network's, such as ImageNet's synsets (n01440764 ...).

Each network gets a folder in --out, with evaluation.json, tables and pictures. Networks that have
one are not evaluated again."""


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
    from regnet_tf._errors import UserError
    from regnet_tf.variants import check_variant_option

    from .evaluation.jobs import jobs_of
    from .evaluation.published import published_set, write_comparison

    dataset = None
    check_variant_option(options.variant)
    if options.real_labels and not options.data:
        raise UserError("--real-labels needs --data, a folder of ImageNet's validation images.")
    if options.compare_published:
        dataset = published_set(options.data, bool(options.real_labels))
    jobs = jobs_of(options.model, dataset)
    data = {job.model: None if options.data else _own_data(job.model, options) for job in jobs}
    given = _given_data(options, dataset=dataset) if options.data else None
    rows = [_evaluated(job, given or data[job.model], options) for job in jobs]
    if options.compare_published:
        write_comparison(rows, options.out)


def _parser():
    parser = argparse.ArgumentParser(
        prog="regnet evaluate",
        description="Measures trained networks on a data set.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="+", help="one or more tags, patterns or paths (see below)")
    add("--variant", metavar="NAME", help="network of a weight file: a name or a JSON file")
    add("--data", metavar="DATA", help="data set (default: the images that the run held out)")
    add("--data-dir", metavar="DIR", help="data directory of tensorflow-datasets")
    add(
        "--split",
        choices=("test", "train"),
        default="test",
        help="split of the data set (default: test)",
    )
    add(
        "--labels",
        metavar="FILE",
        type=Path,
        help="names of the network's classes, one a line, in the order of its outputs",
    )
    add_preprocessing_options(parser)
    add(
        "--only-its-classes",
        action="store_true",
        help="compare only the scores of the data set's classes; always so for imagenet_a and"
        " imagenet_r",
    )
    add(
        "--real-labels",
        metavar="FILE",
        type=Path,
        help="real.json of ImageNet-ReaL, for a folder of ImageNet's validation images",
    )
    add(
        "--compare-published",
        action="store_true",
        help="evaluate with each published preprocessing of the data set, and print a table",
    )
    add("--grad-cam", action="store_true", help="draw heat maps (Grad-CAM) next to the mistakes")
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


def _given_data(options, target=None, dataset=None):
    """Loads the data set of `--data`; returns it with the requested split.

    Args:
        options: of the command line.
        target: "pixels" for the masks of a data set that has labels, too.
        dataset: the published data set whose number of images is compared, or None.
    """
    from regnet_tf.preprocessing import MAX_PIXELS

    from .data import load
    from .evaluation.published import about_size, is_subset
    from .evaluation.real_labels import with_real_labels

    limit = options.max_pixels or MAX_PIXELS
    found = load(options.data, options.data_dir, target=target, max_pixels=limit)
    if options.only_its_classes or is_subset(options.data):
        found = dataclasses.replace(found, only_its_classes=True)
    data, split = _with_split(found, options)
    if dataset and (line := about_size(dataset, data.name, split.size)):
        print(line, file=sys.stderr)
    if options.real_labels:
        return _with_split(with_real_labels(data, options.real_labels), options)
    return data, split


def _own_data(model, options):
    """Loads the data set of a run as its training did; returns it with the requested split."""
    from regnet_tf._errors import UserError

    from .loop.loading import load_for

    recipe = _recipe_of(model)
    if recipe is None:
        raise UserError("`data` must be given, unless the model is a run of `regnet train`.")
    return _with_split(load_for(recipe, options.data_dir), options)


def _with_split(data, options):
    from regnet_tf._errors import UserError

    split = getattr(data, options.split)
    if split is None:
        raise UserError(f"{data.name} has no images in the split {options.split!r}.")
    for note in data.notes:
        print(note)
    return data, split


def _recipe_of(model):
    """Returns the recipe of a run, or None if the model is no run."""
    from regnet_tf._errors import UserError
    from regnet_tf._files import read_json

    from .recipes import Recipe

    run = Path(model) / "run.json"
    if not run.is_file():
        return None
    recipe = read_json(run, "recipe")["recipe"]
    try:
        return Recipe.from_dict(recipe)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{run} is damaged: its recipe cannot be read: {error}") from error


def _trained_on(model, split, options):
    """Returns how many images of a split the training of a run has seen, or None if unknown."""
    from .loop.loading import load_for

    recipe = _recipe_of(model)
    if recipe is None or split.paths is None or not Path(recipe.data.name).exists():
        return None
    seen = load_for(recipe, options.data_dir).train.paths or ()
    return len({*map(os.path.realpath, seen)} & {*map(os.path.realpath, split.paths)})


_loaded: "dict[tuple, Predictor]" = {}  # the last network; the next job may use it, too


def _predictor(job, options):
    """Opens the network of a job, with its class names and its preprocessing."""
    import keras

    from regnet_tf._opening import open_predictor
    from regnet_tf._predictors import with_names, with_preprocessing

    key = (job.model, _modified(job.model))
    if key not in _loaded:
        _loaded.clear()
        keras.backend.clear_session()
        _loaded[key] = open_predictor(job.model, options.variant)
    predictor = _loaded[key]
    if job.preprocessing is not None:
        predictor = predictor.replace(preprocessing=job.preprocessing)
    predictor = with_names(predictor, options.labels)
    return with_preprocessing(predictor, preprocessing_changes(options))


def _evaluated(job, data, options):
    """Evaluates a network in a setting, writes the results and returns `evaluation.json`."""
    from regnet_tf._errors import UserError
    from regnet_tf._files import print_paths

    from .evaluation import testing
    from .evaluation.matching import task_for
    from .tasks.notes import about_rare_classes

    data, split = data
    folder = options.out / job.folder
    wanted = {
        "model": job.model,
        "modified": _modified(job.model),
        "data": data.name,
        "split": options.split,
        "images": split.size,
        "any_class": data.any_class,
        "only_its_classes": data.only_its_classes,
        "grad_cam": options.grad_cam,
    }
    asked = preprocessing_changes(options) or options.labels
    done = None if options.overwrite or asked else _finished(folder, wanted)
    if done is not None and job.preprocessing in (None, _preprocessing_of(done)):
        print(f"{_line(done, job)} (evaluated earlier)", flush=True)
        return {**done, "published": job.published}
    predictor = _predictor(job, options)
    if options.grad_cam and predictor.model is None:
        raise UserError(f"--grad-cam needs a Keras model. {predictor.name} is in another format.")
    if predictor.of_pixels and data.target != "pixels":
        data, split = _given_data(options, "pixels")
    for line in predictor.assumed:
        print(line)
    preprocessing = predictor.preprocessing
    print(f"{job.model} on {split.size:,} images of {data.name}, {_describe(preprocessing)}")
    if options.data and (trained := _trained_on(job.model, split, options)):
        print(
            f"It was trained on {trained:,} of these {split.size:,} images, so this says little"
            " about new ones. Without --data it is tested on the images that were held out."
        )
    verbose = 1 if sys.stdout.isatty() else 0
    found = testing.evaluate(predictor, data, split, options.batch_size, options.grad_cam, verbose)
    wanted["preprocessing"] = preprocessing.to_dict()
    result = testing.write_evaluation(folder, found, wanted)
    print(_line(result, job))
    if rare := result.get("rare_classes"):
        print(about_rare_classes(rare))
    print_paths(folder, task_for(predictor, data).written(testing.FILES))
    return {**result, "published": job.published}


def _modified(model):
    """Returns when the files of a network were last changed, in nanoseconds; None for a tag."""
    path = Path(model)
    files = (path / "model.keras", path / "saved_model.pb", path)
    return next((file.stat().st_mtime_ns for file in files if file.exists()), None)


def _finished(folder, wanted):
    """Returns the result of an earlier evaluation if it has the wanted facts, else None."""
    from regnet_tf._files import read_json

    file = folder / "evaluation.json"
    if not file.is_file():
        return None
    result = read_json(file)
    same = all(result.get(key) == value for key, value in wanted.items())
    return result if same and result.keys() >= {"summary", "preprocessing"} else None


def _preprocessing_of(result):
    from regnet_tf import Preprocessing

    return Preprocessing.from_dict(result["preprocessing"])


def _describe(preprocessing):
    return (
        f"{preprocessing.image_size} of {preprocessing.shorter_side} pixels,"
        f" {preprocessing.interpolation}"
    )


def _line(result, job):
    """Returns a result in one line."""
    text = f"{result['model']}: {result['summary']}; {result['images_per_second']:.0f} images/s"
    if job.published:
        text += f" (published by {job.published['source']}: {job.published['top1']:.3f} %)"
    return text


if __name__ == "__main__":
    start(".evaluate", __package__)
