"""The `Specification` of a population, read from JSON and validated before any work."""

import dataclasses
import functools
import hashlib
import json
import operator
from pathlib import Path
from typing import Any

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, check_fields, check_int, plain
from regnet_tf._errors import UserError, nearest
from regnet_tf._files import read_json
from regnet_tf.costs import complexity
from regnet_tf.design_space import SPACES, DesignSpace, sample
from regnet_tf.design_space.sampling import MAX_COUNT, check_count, check_window

from ..data import CompleteDataSet
from ..loop.loading import load_for
from ..recipes import RECIPES, Recipe
from . import built_in
from .results import COSTS

# Fields of a recipe that must be None: each network starts anew, and its last epoch counts.
_WITHOUT = (
    "decoder",
    "pretraining",
    "distillation",
    "average",
    "selection",
    "network.weights",
    "network.freeze",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specification:
    """A population: networks of a design space, all trained by the same recipe.

    Args:
        name: display name.
        description: purpose of the population.
        space: the design space as a dict: "name", one of `regnet_tf.design_space.SPACES`, and the
            fields to change.
        count: number of networks.
        seed: seed for the choice of networks and for the training of each network.
        window: allowed costs of a network: dict from "flops", "parameters" and "activations", all
            optional, to `[least, most]`.
        recipe: the training as a dict: "name", one of `training.recipes.RECIPES`, and the fields to
            change by their dotted names, such as "schedule.epochs". Its network is replaced by each
            network of the population.

    Raises:
        ValueError: if a field is out of range; the message names the field.
    """

    name: str
    description: str = ""
    space: dict
    count: int
    seed: int = 0
    window: dict = dataclasses.field(default_factory=dict)
    recipe: dict

    def __post_init__(self):
        plain(self)
        check("name", self.name, isinstance(self.name, str) and self.name, "a text")
        check("description", self.description, isinstance(self.description, str), "a text")
        check_int("count", self.count, minimum=1, maximum=MAX_COUNT)
        check_int("seed", self.seed, minimum=0)
        ok = isinstance(self.window, dict) and set(self.window) <= set(COSTS)
        check("window", self.window, ok, f"a dict of {', '.join(COSTS)} to [least, most]")
        for name, window in self.window.items():
            check_window(name, window)
        check_count(self.design_space, self.count)
        recipe = self._base_recipe
        for name in _WITHOUT:
            value = operator.attrgetter(name)(recipe)
            check(name, value, value is None, "None in the recipe of a population")
        own = [field for field in ("network.config", "seed") if field in self.recipe]
        check("recipe", own, not own, "without `network.config` and `seed`, which each network has")

    @functools.cached_property
    def design_space(self) -> DesignSpace:
        """The design space of the networks."""
        base = _named("space", self.space, SPACES)
        return base.replace(**{"image_size": self._base_recipe.images.size, **_changes(self.space)})

    @property
    def _base_recipe(self):
        return _replaced(_named("recipe", self.recipe, RECIPES), _changes(self.recipe))

    def recipe_of(self, config: RegNetConfig) -> Recipe:
        """Returns the recipe of one network.

        Its seed is derived from the population's seed and the network's identity.
        """
        digest = hashlib.sha256(f"{self.seed} {config.identity}".encode()).hexdigest()
        return self._base_recipe.replace({"network.config": config, "seed": int(digest[:7], 16)})

    def load_data(self, data_dir: str | Path | None = None) -> CompleteDataSet:
        """Loads the data set, with the same choice of images for every network.

        Raises:
            UserError: if the data set is unknown or too small.
        """
        return load_for(self._base_recipe.replace({"seed": self.seed}), data_dir)

    def sample(self, classes: int) -> list[RegNetConfig]:
        """Samples the networks of the population.

        Args:
            classes: number of classes of the data set.

        Raises:
            UserError: if too few networks are within the window.
        """
        options = {**self.window, **self._setting(classes)}
        configs = sample(self.design_space, self.count, seed=self.seed, **options)
        self.recipe_of(configs[0])  # raises if the images are too small
        return configs

    def complexity(self, config: RegNetConfig, classes: int) -> dict[str, int]:
        """Returns the costs of a network for one image: flops, parameters, activations."""
        costs = complexity(config, **self._setting(classes))
        return {name: int(getattr(costs, name)) for name in COSTS}

    def _setting(self, classes):
        """Returns what costs depend on, besides the network."""
        images = self._base_recipe.images
        return {"image_size": images.size, "classes": classes, "channels": images.channels}

    def to_dict(self) -> dict:
        """Returns the fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Specification":
        """Returns a specification from the content of a JSON file.

        Raises:
            ValueError: if a field is unknown, missing or out of range.
        """
        check("specification", fields, isinstance(fields, dict), "a JSON object")
        check_fields(cls, fields)
        missing = {"name", "space", "count", "recipe"} - set(fields)
        if missing:
            raise ValueError(f"A specification needs {', '.join(sorted(missing))}.")
        return cls(**fields)


def load_specification(name: str | Path) -> Specification:
    """Loads a specification from a JSON file, or a built-in one by name.

    Raises:
        UserError: if the file is missing or invalid; the message names the file and the problem.
    """
    known = built_in()
    path = known.get(str(name), Path(name))
    if not path.is_file():
        raise UserError(
            f"There is no file and no built-in population {name}.{nearest(name, known)}"
            f" Built in: {', '.join(known)}."
        )
    try:
        fields = read_json(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return Specification.from_dict(fields)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _named(field, given, known):
    """Returns the entry of `known` for the given "name"."""
    ok = isinstance(given, dict) and all(isinstance(key, str) for key in given)
    ok = ok and isinstance(given.get("name"), str)
    check(field, given, ok, 'a dict with a "name"')
    name = given["name"]
    allowed = f"one of {', '.join(known)}"
    check(f"{field}.name", name, name in known, allowed)
    return known[name]


def _changes(given):
    """Returns the fields to change; JSON's lists become tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name != "name"
    }


def _replaced(recipe, changes):
    """Returns the changed recipe, with a placeholder network that fits images of any size."""
    small = RegNetConfig(
        depth=2, initial_width=8, width_slope=8, width_multiplier=2, group_width=8, stem_stride=1,
        stride=1,
    )  # fmt: skip
    return recipe.replace({"network.config": small, **changes})
