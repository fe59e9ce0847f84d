"""What a population is made of (`Specification`), read from JSON and checked before any work."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from regnet_tf import RegNetConfig
from regnet_tf._checks import check, check_fields, check_int
from regnet_tf._errors import UserError, nearest
from regnet_tf.complexity import complexity
from regnet_tf.design_space import SPACES, DesignSpace, sample

from ..recipes import RECIPES, Recipe
from ..train import check_batch_size, load_for
from . import built_in
from .results import COSTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specification:
    """A population: networks of a design space, all trained by the same recipe.

    Args:
        name: display name.
        description: what it is for.
        space: the design space as a dict: "name", one of `regnet_tf.design_space.SPACES`, and
            fields of it to change.
        count: how many networks.
        seed: of the choice of networks, and of the training of each of them.
        window: costs that a network may have: "flops", "parameters", "activations", of which any
            may be missing, to `[least, most]`.
        recipe: the training as a dict: "name", one of `training.recipes.RECIPES`, and fields of it
            to change. Its network is replaced by each of the population.

    Raises:
        ValueError: naming the field that is out of range.
    """

    name: str
    description: str = ""
    space: dict
    count: int
    seed: int = 0
    window: dict = dataclasses.field(default_factory=dict)
    recipe: dict

    def __post_init__(self):
        check("name", self.name, isinstance(self.name, str) and self.name, "a text")
        check("description", self.description, isinstance(self.description, str), "a text")
        check_int("count", self.count, minimum=1)
        check_int("seed", self.seed, minimum=0)
        ok = isinstance(self.window, dict) and set(self.window) <= set(COSTS)
        check("window", self.window, ok, f"a dict of {', '.join(COSTS)} to [least, most]")
        self.design_space  # noqa: B018, which checks the space
        recipe = self._base_recipe
        for field, allowed in (("decoder", None), ("pretraining", None), ("ema_decay", None)):
            value = getattr(recipe, field)
            check(field, value, value is allowed, f"{allowed} in the recipe of a population")
        own = [field for field in ("network", "seed") if field in self.recipe]
        check("recipe", own, not own, "without `network` and `seed`, which each network has")

    @functools.cached_property
    def design_space(self) -> DesignSpace:
        """Where the networks are drawn from."""
        base = _named("space", self.space, SPACES)
        return base.replace(**{"image_size": self._base_recipe.image_size, **_changes(self.space)})

    @property
    def _base_recipe(self):
        return _replaced(_named("recipe", self.recipe, RECIPES), _changes(self.recipe))

    def recipe_of(self, config: RegNetConfig) -> Recipe:
        """The training of one network; its seed follows from the population's and from it."""
        digest = hashlib.sha256(f"{self.seed} {config.identity}".encode()).hexdigest()
        return self._base_recipe.replace(network=config, seed=int(digest[:7], 16))

    def load_data(self, data_dir=None):
        """The data set, the same part of it for every network.

        Raises:
            UserError: if it is unknown or too small.
        """
        recipe = self._base_recipe.replace(seed=self.seed)
        data = load_for(recipe, data_dir)
        check_batch_size(recipe, data)
        return data

    def sample(self, classes) -> list[RegNetConfig]:
        """The networks, each with a recipe that fits it.

        Args:
            classes: of the data set.

        Raises:
            UserError: where too few networks are within the window.
        """
        size = self._base_recipe.image_size
        space = self.design_space
        options = {**self.window, "image_size": size, "classes": classes}
        configs = sample(space, self.count, seed=self.seed, **options)
        self.recipe_of(configs[0])  # raises where the images are too small
        return configs

    def complexity(self, config, classes) -> dict:
        """What a network costs for one image: flops, parameters, activations."""
        costs = complexity(config, self._base_recipe.image_size, classes=classes)
        return {name: int(getattr(costs, name)) for name in COSTS}

    def to_dict(self) -> dict:
        """The fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields) -> "Specification":
        """The population that a JSON file describes.

        Raises:
            ValueError: for an unknown or missing field, or a value out of range.
        """
        check("specification", fields, isinstance(fields, dict), "a JSON object")
        check_fields(cls, fields)
        missing = {"name", "space", "count", "recipe"} - set(fields)
        if missing:
            raise ValueError(f"A specification needs {', '.join(sorted(missing))}.")
        return cls(**fields)


def load_specification(name) -> Specification:
    """A population from a JSON file, or a built-in one by name.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    known = built_in()
    path = known.get(str(name), Path(name))
    if not path.is_file():
        raise UserError(
            f"There is no file {name}, nor a population of this name.{nearest(name, known)}"
            f" Built in: {', '.join(known)}."
        )
    try:
        return Specification.from_dict(json.loads(path.read_text()))
    except (ValueError, OSError) as error:  # of JSON and of UTF-8, too
        raise UserError(f"{path}: {error}") from error


def _named(field, given, known):
    """What "name" says, one of `known`."""
    ok = isinstance(given, dict) and isinstance(given.get("name"), str)
    check(field, given, ok, 'a dict with a "name"')
    name = given["name"]
    allowed = f"one of {', '.join(known)}"
    check(f"{field}.name", name, name in known, allowed)
    return known[name]


def _changes(given):
    """Fields to change, with tuples for JSON's lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name != "name"
    }


def _replaced(recipe, changes):
    """The recipe changed, of a network for images of any size: its own one will not be trained."""
    small = RegNetConfig(
        depth=2, initial_width=8, width_slope=8, width_multiplier=2, group_width=8, stem_stride=1,
        stride=1,
    )  # fmt: skip
    return recipe.replace(**{"network": small, **changes})
