"""The numbers of an analysis, as JSON types."""

import itertools

import numpy as np

from regnet_tf.design_space import (
    best_range,
    error_quantile,
    kolmogorov_smirnov,
    kolmogorov_smirnov_p_value,
)

_REPEATS = 10_000


def population_facts(population, weights, seed):
    """Returns the numbers of one population, with the conditions of its training."""
    errors, specification = population.errors, population.specification
    return {
        "name": population.name,
        "space": specification.design_space.name,
        "networks": len(population),
        "failed": population.failed,
        "least_error": float(errors.min()),
        "median_error": error_quantile(errors, 0.5),
        "mean_error": float(errors.mean()),
        "weighted_mean_error": float(np.average(errors, weights=weights)),
        "best_ranges": _ranges(population, seed),
        "conditions": _conditions(population),
    }


def pair_facts(populations, weights, seed):
    """Returns how the distributions of each pair differ; neighbours are a "step" of the study."""
    numbered = enumerate(zip(populations, weights, strict=True))
    return [
        {
            "a": a.name,
            "b": b.name,
            "step": second == first + 1,
            "statistic": kolmogorov_smirnov(a.errors, b.errors),
            "weighted": kolmogorov_smirnov(a.errors, b.errors, of_a, of_b),
            "p_value": kolmogorov_smirnov_p_value(a.errors, b.errors, seed=seed),
            "median_difference": _median_difference(a.errors, b.errors, seed),
        }
        for (first, (a, of_a)), (second, (b, of_b)) in itertools.combinations(numbered, 2)
    ]


def _ranges(population, seed):
    """Returns the best range of each parameter, and the least and greatest value that was tried."""
    columns = population.parameters
    values = np.stack(list(columns.values()), axis=1)
    ends = (*best_range(values, population.errors, seed=seed), values.min(0), values.max(0))
    names = ("low", "median", "high", "least", "greatest")
    return {
        name: dict(zip(names, map(float, row), strict=True))
        for name, row in zip(columns, np.stack(ends, axis=1), strict=True)
    }


def _median_difference(errors_a, errors_b, seed):
    """Returns the median error of b minus that of a, with a 95 % interval by bootstrap."""
    rng = np.random.default_rng(seed)
    medians = [
        np.median(errors[rng.integers(len(errors), size=(_REPEATS, len(errors)))], axis=1)
        for errors in (errors_a, errors_b)
    ]
    low, high = np.quantile(medians[1] - medians[0], (0.025, 0.975))
    value = np.median(errors_b) - np.median(errors_a)
    return {"low": float(low), "value": float(value), "high": float(high)}


def _conditions(population):
    """Returns the conditions of the training; empty lists where they are not recorded."""
    specification = population.specification
    recipe = specification.recipe_of(population.configs[0])
    return {
        "recipe": specification.recipe["name"],
        "data": recipe.data.name,
        "images_per_class": recipe.data.images_per_class,
        "image_size": recipe.images.size,
        "epochs": recipe.schedule.epochs,
        "seed": specification.seed,
        "hours": round(population.seconds / 3600, 2),
        "threads": list(population.threads),
        "code": list(population.codes),
    }
