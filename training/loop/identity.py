"""What a run is: its recipe, its data and its teacher, which must stay the same when it resumes."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from regnet_tf._errors import UserError
from regnet_tf._files import read_json, write_json
from regnet_tf._runs import RUN

from ..data import CompleteDataSet
from ..data.table import TableSplit
from ..recipes import Recipe
from ..recipes.recipe import FIELD_TYPES
from .distillation import Teacher
from .record import data_facts

#: Written when a run begins.
FILE = "recipe.json"
#: Fields that may change when a finished run is trained further.
EXTENDED = ("schedule.epochs", "selection.patience")

_UNCOMPARED = {"name", "description"}
_SHOWN = 4  # differing fields in an error


def recipe_of(folder: Path) -> Recipe | None:
    """Returns the recipe of the run in a folder; None if there is no run.

    Raises:
        UserError: if `recipe.json` is damaged or of another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    fields = read_json(path, "recipe", "data")["recipe"]
    try:
        return Recipe.from_dict(fields)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds a recipe that cannot be read: {error}") from error


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Checks that a recipe fits the run in a folder, if there is one.

    Raises:
        UserError: if the run has another recipe (it names the differing fields and both values),
            or is finished. A finished run may get more epochs, and another patience.
    """
    before, finished = recipe_of(folder), (folder / RUN).exists()
    if before is None:
        if finished:
            raise UserError(f"{folder} holds a finished run. {_advice('')}")
        return
    # `run.json` of a run that is trained further has the epochs before that.
    finished = finished and _same_recipe(folder)
    differing = differences(before, recipe)
    if finished and not differing:
        raise UserError(
            f"{folder} holds a finished run. To train it further, give more than"
            f" {before.schedule.epochs} epochs: --set schedule.epochs=N. To begin another run from"
            f" its network: --weights {folder}, with another --out. --overwrite replaces it."
        )
    more = recipe.schedule.epochs >= before.schedule.epochs
    if finished and more and set(differing) <= set(EXTENDED):
        return
    if differing:
        texts = [f"{name} is {old} there and {new} now" for name, (old, new) in differing.items()]
        rest = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        raise UserError(
            f"{folder} holds a run of another recipe: {'; '.join(texts[:_SHOWN])}{rest}."
            f" {_advice('Give the same recipe, or another --out.')}"
        )


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Returns whether a folder holds a finished run of a recipe."""
    before = recipe_of(folder)
    if before is None or not (folder / RUN).exists():
        return False
    return _same_recipe(folder) and not differences(before, recipe)


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[str, str]]:
    """Returns the fields that differ in two recipes: dotted name -> both values as text."""
    ours, theirs = one.to_dict(), other.to_dict()
    pairs: dict[str, tuple[Any, Any]] = {}
    for name in ours.keys() - _UNCOMPARED:
        values = ours[name], theirs[name]
        if all(isinstance(value, dict) for value in values):
            pairs |= {
                f"{name}.{field}": (values[0][field], values[1][field]) for field in ours[name]
            }
        else:
            pairs[name] = values
    order = {name: number for number, name in enumerate(FIELD_TYPES)}
    return {
        name: (_text(pairs[name][0]), _text(pairs[name][1]))
        for name in sorted(pairs, key=lambda name: order.get(name, -1))
        if pairs[name][0] != pairs[name][1]
    }


def check_data(folder: Path, data: CompleteDataSet) -> None:
    """Checks that a data set is the one of the run in a folder, if there is one.

    Raises:
        UserError: if classes, images or labels differ.
    """
    if not (folder / FILE).exists():
        return
    before, now = read_json(folder / FILE, "data")["data"], _facts(data)
    if before == now:
        return
    changes = [
        f"{name.replace('_', ' ')} are {_text(before.get(name))} there and {_text(now[name])} now"
        for name in ("class_names", "train_images", "test_images")
        if before.get(name) != now[name]
    ]
    what = "; ".join(changes) or "other files or labels of the same number"
    raise UserError(
        f"{folder} holds a run on other data of {data.name}: {what}."
        f" {_advice('Restore the data, or give another --out.')}"
    )


def check_teacher(folder: Path, teacher: Teacher | None) -> None:
    """Checks that a teacher is the one of the run in a folder, if there is one.

    Raises:
        UserError: if its weights are others.
    """
    if teacher is None or not (folder / FILE).exists():
        return
    if read_json(folder / FILE, "teacher")["teacher"] != teacher.fingerprint:
        raise UserError(
            f"{folder} holds a run with another teacher: its weights have changed."
            f" {_advice('Restore them, or give another --out.')}"
        )


def write(
    folder: Path, recipe: Recipe, data: CompleteDataSet, teacher: Teacher | None = None
) -> None:
    """Writes `recipe.json`, with a hash of the teacher's weights."""
    fingerprint = None if teacher is None else teacher.fingerprint
    facts = {"recipe": recipe.to_dict(), "data": _facts(data), "teacher": fingerprint}
    write_json(folder / FILE, facts)


def _advice(first):
    return f"{first or 'Give another --out.'} --overwrite begins anew."


def _same_recipe(folder):
    """Returns whether the finished run has the recipe of `recipe.json`."""
    run = read_json(folder / RUN, "recipe")
    return run["recipe"] == read_json(folder / FILE, "recipe")["recipe"]


def _facts(data):
    """Returns the entry of a data set, with a hash of its files and labels."""
    return {**data_facts(data), "sha256": _fingerprint(data)}


def _fingerprint(data):
    """Returns a hash of the paths and labels of both splits, as far as they are known."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(str(split.size).encode())
        if isinstance(split, TableSplit):
            items = split.items if split.items.dtype.kind in "SOU" else ()
            for path in items:
                digest.update(path if isinstance(path, bytes) else str(path).encode())
                digest.update(b"\0")
            labels = np.ascontiguousarray(split.labels)
            digest.update(b"\0".join(labels) if labels.dtype == object else labels.tobytes())
    return digest.hexdigest()


def _text(value):
    """Returns a value as `--set` takes it, at most a line long."""
    if isinstance(value, dict):  # a configuration, or a part
        value = value.get("name") or ", ".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        value = ",".join(map(str, value))
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
