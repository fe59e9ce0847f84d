"""Bombs: images, JSON, weights and servers' answers that ask for all memory, or never end."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np

from . import servers
from .bomb_files import JSON, NUMBERS, write_image_bombs, write_weight_bombs
from .originals import TINY_RUN
from .processes import Process, forked, job

#: MiB that a process may take more than one that does the same with usual files. An image of the
#: largest allowed size takes 256 MiB.
_ROOM = 400
_TIMEOUT = 2  # seconds that `regnet ask` waits


def scenarios(suite):
    """Yields the scenarios of this part."""
    yield from _json_scenarios(suite)
    yield _asked(suite)
    yield _weights(suite)
    yield from _image_scenarios(suite)


def _some(suite, items, least=2):
    """Returns all items, or a few of them at scale 0."""
    items = [*items]
    return suite.random.sample(items, least) if suite.is_quick else items


def _bombed(suite, what, process, how, usual, is_fault=None):
    """Starts a process, and yields its case: worked is a fault if the memory is above `usual`."""
    ended = yield process
    outcome, bad = ended.outcome, ended.is_bad
    if ended.peak > usual + _ROOM and not ended.trouble:
        outcome, bad = f"{outcome}, huge memory", True
    yield suite.case(what, process, ended, outcome, bad if is_fault is None else is_fault, how)


# Images.


def _image_scenarios(suite):
    folder = suite.scratch("images")
    usual = suite.originals.photos / "cat" / "png.png"
    readers = {
        "Preprocessing": lambda path: job(_prepare, path),
        "serving_default": lambda path: job(_serve, suite.originals.export, [path]),
        "8 in a request": lambda path: job(_serve, suite.originals.export, [path] * 8),
        "predict": lambda path: forked("predict", suite.originals.run, path),
        "data check": lambda path: forked("data", "check", path.parent.parent),
        "train": lambda path: forked(
            *(
                "train",
                "--recipe",
                "smoke",
                "--data",
                path.parent.parent,
                "--out",
                path.parent.parent.parent / "run",
            ),
            *("--set=schedule.batch_size=2",),
        ),
        "calibration": lambda path: forked(
            *("export", suite.originals.run, "--format=tflite", "--precision=int8", "--out"),
            *(path.parent.parent.parent / "export", "--calibration", path.parent),
        ),
    }
    if suite.is_quick:
        readers = {name: readers[name] for name in ("Preprocessing", "8 in a request")}
    for name, reader in readers.items():
        yield _image_bombs(suite, name, reader, usual, folder)


def _image_bombs(suite, name, reader, usual, bombs):
    def among_others(path):
        """Returns the path of a copy that lies among usual images."""
        folder = suite.scratch("photos")
        photos = suite.originals.copy(folder, "photos")
        (photos / "labels.csv").unlink()
        return Path(shutil.copy(path, photos / "cat" / f"z{path.name}")), folder

    path, folder = among_others(usual)
    ended = yield Process(reader(path), folder)
    usual_peak = ended.peak
    if not any(bombs.iterdir()):  # written in a process of its own, since it takes memory
        yield Process(job(write_image_bombs, bombs), bombs)
    for bomb in sorted(bombs.glob("bomb.[jp]*" if suite.is_quick else "*.*")):
        path, folder = among_others(bomb)
        process = Process(reader(path), folder)
        size = f"{bomb.name}, {bomb.stat().st_size:,} bytes"
        yield from _bombed(suite, f"images, {name}", process, size, usual_peak)


def _prepare(path):
    import regnet_tf

    print(regnet_tf.Preprocessing(image_size=32).from_file(str(path)).shape)


def _serve(export, paths):
    """Asks the SavedModel, as TensorFlow Serving does."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(export / "serving" / "tiny" / "1"))
    try:
        found = loaded.signatures["serving_default"](
            image_bytes=tf.constant([path.read_bytes() for path in paths])
        )
    except tf.errors.InvalidArgumentError as error:  # one error of the request for the client
        raise ValueError(error.message.splitlines()[0]) from error
    print(np.asarray(found["probabilities"]).shape)


# JSON.


def _json_scenarios(suite):
    originals = suite.originals
    readers = {
        "spec.json of sweep run": (
            "sweep",
            "spec.json",
            lambda folder: forked("sweep", "run", folder / "spec.json", "--dry-run"),
        ),
        "spec.json of analyze": ("sweep", "spec.json", _analyze),
        "results.jsonl": ("sweep", "results.jsonl", _analyze),
        "run.json of predict": ("run", "run.json", lambda folder: _predict(originals, folder)),
        "run.json of export": (
            *("run", "run.json"),
            lambda folder: forked("export", folder, "--format=saved_model", "--out", folder / "e"),
        ),
        "recipe.json of train": (
            *("run", "recipe.json"),
            lambda folder: forked("train", "--out", folder, "--set=schedule.epochs=4"),
        ),
        "manifest.json": ("export", "manifest.json", lambda folder: forked("verify", folder)),
        "report.json": ("export", "report.json", lambda folder: job(_verify_anew, folder)),
        "facts.json of a SavedModel": (
            *("export", "serving/tiny/1/assets.extra/facts.json"),
            lambda folder: _predict(originals, folder / "serving" / "tiny" / "1"),
        ),
    }
    for name, (original, file, reader) in readers.items():
        yield _json_bombs(suite, name, original, file, reader)
    yield _arguments(suite)


def _analyze(folder):
    return forked("sweep", "analyze", folder, "--out", folder / "page")


def _predict(originals, network):
    return forked("predict", network, originals.photos / "cat" / "jpg.jpg")


def _verify_anew(folder):
    """Verifies an export whose manifest does not tell that a file was changed."""
    from export import manifest, verify

    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    manifest.write_manifest(folder, [*content.get("files", content)])
    return verify.main([str(folder)])


def _json_bombs(suite, name, original, file, reader):
    whole = getattr(suite.originals, original)
    text = (whole / file).read_text()
    bombs = {**JSON, **dict(_with_numbers(text, suite))}
    for what in _some(suite, bombs, 1):
        folder = suite.scratch("json")
        copy = suite.originals.copy(folder, original)
        (copy / file).write_text(bombs[what])
        process = Process(reader(copy), folder, timeout=60)
        yield from _bombed(suite, f"JSON, {name}", process, what, 700)


def _with_numbers(text, suite):
    """Yields texts in which one number is another one."""
    first = text.splitlines()[0] if "\n{" in text.strip() else text  # lines of results
    fields = json.loads(first)
    places = [*_places(fields)]
    for number in NUMBERS:
        place = suite.random.choice(places)
        marked = json.dumps(_changed(fields, place, "HERE"))
        rest = text[len(first) :]
        changed = marked.replace('"HERE"', number) + rest
        yield f"{number[:24]} for {'.'.join(map(str, place))}", changed


def _places(fields, before=()):
    """Yields the paths to all numbers."""
    pairs = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for key, value in pairs:
        if isinstance(value, (dict, list)):
            yield from _places(value, (*before, key))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*before, key)


def _changed(fields, place, value):
    copy = json.loads(json.dumps(fields))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copy


def _arguments(suite):
    """Numbers on the command line."""
    huge = ("1" + "0" * 400, "1e999", "nan", "-1e31", "1" + "0" * 19)
    run, photo = suite.originals.run, suite.originals.photos / "cat" / "jpg.jpg"
    train = ("train", *TINY_RUN)
    commands = {
        "schedule.learning_rate": train,
        "schedule.epochs": train,
        "schedule.batch_size": train,
        "images.mean": train,
        "images.size": train,
        "--seed": train,
        "--image-size": ("predict", run, photo),
        "--mean": ("predict", run, photo),
        "--scale": ("predict", run, photo),
        "--batch-size": ("predict", run, photo),
        "--top": ("predict", run, photo),
        "--version": ("export", run, "--format=saved_model"),
        "--batch": ("export", run),
    }
    for name, number in _some(suite, itertools.product(commands, huge)):
        folder = suite.scratch("arguments")
        option = f"{name}={number}" if name.startswith("-") else f"--set={name}={number}"
        words = (*commands[name], option)
        if words[0] != "predict":
            words = (*words, "--out", folder / "out")
        process = Process(forked(*words), folder, timeout=60)
        ended = yield process
        outcome, is_fault = ended.outcome, ended.is_bad
        if "usage:" in ended.err and ended.status == 2:
            outcome, is_fault = "refused with the usage", False
        yield suite.case(
            "numbers on the command line", process, ended, outcome, is_fault, number[:24]
        )


# Weights and servers.


def _weights(suite):
    folder = suite.scratch("weights")
    whole = suite.originals.weights
    usual = yield Process(job(_load, whole / "model.npz"), folder)
    yield Process(job(write_weight_bombs, folder, whole), folder)
    for path in _some(suite, sorted(folder.iterdir())):
        process = Process(job(_load, path), folder, timeout=60)
        what = f"{path.name}, {path.stat().st_size:,} bytes"
        yield from _bombed(suite, "weights", process, what, usual.peak)


def _load(path):
    import regnet_tf
    from training.recipes import get_recipe

    config = get_recipe("smoke").network.config
    model = regnet_tf.build_regnet(config, classes=10, input_shape=(32, 32, 3), weights=path)
    print(model.count_params())


def _asked(suite):
    folder = suite.scratch("servers")
    photo = suite.originals.photos / "cat" / "jpg.jpg"
    for name in _some(suite, servers.ANSWERS, 4):
        process = Process(_ask(photo, name), folder, timeout=40)
        ended = yield process
        outcome, is_fault = ended.outcome, ended.is_bad
        if outcome == "worked" and name != "right":
            outcome, is_fault = "printed as an answer", not _harmless(name, ended.out)
        if servers.ESCAPE[:1] in ended.out + ended.err:
            outcome, is_fault = "terminal escapes printed", True
        if ended.seconds > 3 * _TIMEOUT and not is_fault:
            outcome, is_fault = "longer than its time-out", True
        if ended.peak > 1500 and not is_fault:
            outcome, is_fault = "huge memory", True
        yield suite.case("servers' answers", process, ended, outcome, is_fault, name)


def _harmless(name, text):
    """Whether an answer may be printed: text is text, whatever it says, in a line of its own."""
    return (
        name in ("terminal escapes in a label", "line breaks in a label") and text.count("\n") == 3
    )


def _ask(photo, name):
    def ask():
        import regnet_command

        port = servers.start(servers.ANSWERS[name])
        words = ["ask", photo, "--model", "m", "--port", port, "--server", "127.0.0.1"]
        words += ["--timeout", _TIMEOUT, "--retries", 0]
        return regnet_command.main([str(word) for word in words])

    ask.__name__ = f"regnet ask --timeout {_TIMEOUT} of a server: {name}"
    return ask
