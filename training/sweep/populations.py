"""Trained populations as numpy arrays for the analysis."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regnet_tf import RegNetConfig
from regnet_tf._errors import UserError
from regnet_tf.design_space import balanced_weights, fit_regnet, widths_of

from .results import COSTS, TRAINED, population_results
from .specification import Specification, load_specification

_LEAST = 2  # minimum number of networks: one network has no distribution
_MOST_INTERVALS = 8  # maximum number of flops intervals with equal weights
_STAGE_FIELDS = ("depth", "width", "group_width", "bottleneck_ratio")
_GENERATOR = (
    "initial_width", "width_slope", "width_multiplier", "group_width", "bottleneck_ratio",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Population:
    """The trained networks of a population; arrays and lists have the same order.

    Args:
        name: name of the specification, made unique among the compared populations.
        specification: the `Specification` of the population.
        configs: list of `RegNetConfig`.
        errors: test errors, from 0 to 1, `(networks,)`.
        costs: dict from "flops", "parameters" and "activations" to arrays `(networks,)`.
        failed: number of failed networks, which are not included.
        seconds: duration of all trainings, of failed ones too.
        threads: numbers of threads of the trainings; empty if they are not recorded.
        codes: versions of the code of the trainings; empty if they are not recorded.
    """

    name: str
    specification: Specification
    configs: list
    errors: np.ndarray
    costs: dict
    failed: int
    seconds: float
    threads: tuple = ()
    codes: tuple = ()

    def __len__(self):
        return len(self.errors)

    @functools.cached_property
    def fits(self) -> list:
        """The closest quantized line to the block widths of each network."""
        return [fit_regnet(widths_of(config)) for config in self.configs]

    @functools.cached_property
    def parameters(self) -> dict:
        """Parameters that vary: name -> array `(networks,)`."""
        columns = {"total depth": [config.total_depth for config in self.configs]}
        if all(config.explicit_stages is None for config in self.configs):
            for field in _GENERATOR:
                columns[_words(field)] = [getattr(config, field) for config in self.configs]
        else:
            columns |= self._stage_columns()
            columns["error of the linear fit"] = [fit.error for fit in self.fits]
        columns |= self.costs
        arrays = {name: np.asarray(column, float) for name, column in columns.items()}
        return {name: array for name, array in arrays.items() if np.ptp(array) > 0}

    @property
    def _shares_group_width(self):
        return getattr(self.specification.design_space, "shared_group_width", False)

    def _stage_columns(self):
        """Returns the fields of each stage; one column for a field that all stages share."""
        columns = {}
        for field in _STAGE_FIELDS:
            rows = np.array([[getattr(s, field) for s in c.stages] for c in self.configs])
            if field == "group_width" and self._shares_group_width:
                columns[_words(field)] = rows.max(axis=1)  # narrow stages have less than g
                continue
            if np.all(rows == rows[:, :1]):
                columns[_words(field)] = rows[:, 0]
                continue
            for stage, column in enumerate(rows.T, start=1):
                columns[f"{_words(field)} {stage}"] = column
        return columns


def read_populations(folders: Sequence[str | Path], error: str = "final") -> list[Population]:
    """Reads the populations from directories written by `run`.

    Args:
        folders: list of paths.
        error: error of a network: "final" after the last epoch, or "least" over all epochs.

    Raises:
        UserError: if a directory has no results, or fewer than two trained networks.
    """
    populations = [_read(Path(folder), error) for folder in folders]
    names = [population.name for population in populations]
    return [
        dataclasses.replace(population, name=f"{population.name} ({folder})")
        if names.count(population.name) > 1
        else population
        for population, folder in zip(populations, folders, strict=True)
    ]


def matching_weights(populations: list[Population]) -> list[np.ndarray]:
    """Returns weights that give all populations the same distribution of flops.

    The flops are divided into intervals with equal shares of all networks. The number of intervals
    is the largest one, up to 8, for which each interval contains a network of every population.
    Populations without common flops get equal weights.
    """
    flops = [population.costs["flops"] for population in populations]
    pooled = np.concatenate(flops)
    for intervals in range(_MOST_INTERVALS, 1, -1):
        edges = np.unique(np.quantile(pooled, np.linspace(0, 1, intervals + 1)))
        if len(edges) > 2 and all(np.histogram(one, edges)[0].all() for one in flops):
            return [balanced_weights(one, edges) for one in flops]
    return [np.full(len(one), 1 / len(one)) for one in flops]


def _read(folder, error):
    if not (folder / "spec.json").is_file():
        raise UserError(f"{folder} holds no population: there is no {folder / 'spec.json'}.")
    specification = load_specification(folder / "spec.json")
    results = population_results(folder).read().values()
    trained = [result for result in results if result["status"] == TRAINED]
    if len(trained) < _LEAST:
        raise UserError(f"{folder} has {len(trained)} trained networks; {_LEAST} are needed.")
    return Population(
        specification.name,
        specification,
        [RegNetConfig.from_dict(result["config"]) for result in trained],
        np.array([result[f"{error}_error"] for result in trained]),
        {name: np.array([result["complexity"][name] for result in trained]) for name in COSTS},
        len(results) - len(trained),
        sum(result.get("seconds") or 0 for result in results),
        _recorded(results, "threads"),
        _recorded(results, "code"),
    )


def _recorded(results, field):
    """Returns the different values of an optional field, as texts."""
    values = (result.get(field) for result in results)
    return tuple(dict.fromkeys(str(value) for value in values if value is not None))


def _words(field):
    return field.replace("_", " ")
