"""Compares populations: numbers, figures, and a page with both."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import import_optional
from regnet_tf._files import replacing, write_json
from regnet_tf._locking import writing_to
from regnet_tf.design_space import best_models, best_range, error_quantile, kolmogorov_smirnov

from ..figures import write_figure
from ..loop.directory import make_directory
from . import charts
from .page import page
from .populations import matching_weights, read_populations

FILES = {
    "index.html": "everything on one page",
    "analysis.json": "the numbers",
    "best.json": "the best networks, for `RegNetConfig.from_dict`",
    "*.png": "the pictures",
}


def compare(
    folders: Sequence[str | Path], out: Path, error: str = "final", best: int = 3, seed: int = 0
) -> str:
    """Compares populations and writes `FILES`.

    Args:
        folders: directories written by `run`.
        out: directory for the files; created if missing.
        error: error of a network: "final" after the last epoch, or "least" over all epochs.
        best: number of best networks to keep of each population.
        seed: seed of the bootstraps.

    Returns:
        The outcome as text, one line per population.

    Raises:
        ValueError: if an argument is out of range.
        UserError: if a directory has no population, or files cannot be written.
    """
    check_choice("error", error, ("final", "least"))
    check_int("best", best, minimum=1)
    check_int("seed", seed, minimum=0)
    import_optional("matplotlib.figure")
    populations = read_populations(folders, error)
    weights = matching_weights(populations)
    out = Path(out)
    make_directory(out)
    facts = {
        "error": error,
        "seed": seed,
        "populations": [_facts(*one, seed) for one in zip(populations, weights, strict=True)],
        "kolmogorov_smirnov": _statistics(populations, weights),
    }
    chosen = [model for population in populations for model in _best(population, best)]
    pictures = _pictures(populations, weights, seed)
    with writing_to(out):
        _write(out, facts, chosen, pictures)
    return "\n".join(_line(one) for one in facts["populations"])


def _facts(population, weights, seed):
    """Returns the numbers of one population."""
    errors = population.errors
    ranges = {
        name: dict(zip(("low", "median", "high"), map(float, band), strict=True))
        for name, values in population.parameters.items()
        for band in [best_range(values, errors, seed=seed)]
    }
    return {
        "name": population.name,
        "space": population.specification.design_space.name,
        "networks": len(population),
        "failed": population.failed,
        "least_error": float(errors.min()),
        "median_error": error_quantile(errors, 0.5),
        "mean_error": float(errors.mean()),
        "weighted_mean_error": float(np.average(errors, weights=weights)),
        "best_ranges": ranges,
    }


def _statistics(populations, weights):
    """Returns the Kolmogorov-Smirnov statistic of each pair, unweighted and with equal flops."""
    pairs = itertools.combinations(zip(populations, weights, strict=True), 2)
    return [
        {
            "a": a.name,
            "b": b.name,
            "statistic": kolmogorov_smirnov(a.errors, b.errors),
            "weighted": kolmogorov_smirnov(a.errors, b.errors, of_a, of_b),
        }
        for (a, of_a), (b, of_b) in pairs
    ]


def _best(population, count):
    """Returns the best networks: population, error, costs, identity, configuration."""
    places = best_models(range(len(population)), population.errors, count)
    return [
        {
            "population": population.name,
            "error": error,
            "complexity": {name: int(counts[place]) for name, counts in population.costs.items()},
            "identity": population.configs[place].identity,
            "config": population.configs[place].to_dict(),
        }
        for place, error in places
    ]


def _pictures(populations, weights, seed):
    """Returns a dict: file name -> (figure, caption)."""
    names = ", ".join(population.name for population in populations)
    pictures = {
        "distributions.png": (
            charts.distributions(populations, weights, seed),
            f"Error distributions of {names}, as they are and with matching flops",
        ),
        "search.png": (
            charts.searches(populations),
            f"Expected error of the best of n networks of {names}",
        ),
        "complexity.png": (
            charts.complexities(populations),
            f"Errors of {names} against flops, parameters and activations",
        ),
    }
    for number, population in enumerate(populations, start=1):
        pictures[f"parameters_{number}.png"] = (
            charts.parameters(population, seed),
            f"Errors of {population.name} against each parameter, best range shaded",
        )
        pictures[f"networks_{number}.png"] = (
            charts.networks(population),
            f"Block widths of the best and the worst networks of {population.name}",
        )
    return pictures


def _write(out, facts, best, pictures):
    for name, (figure, _) in pictures.items():
        write_figure(figure, out / name)
    for name, content in (("analysis.json", facts), ("best.json", best)):
        write_json(out / name, content)
    texts = {name: text for name, (_, text) in pictures.items()}
    with replacing(out / "index.html") as path:
        path.write_text(page(facts, best, texts, out), encoding="utf-8")


def _line(facts):
    return (
        f"{facts['name']}: {facts['networks']} networks, error {facts['least_error']:.2%} at least,"
        f" {facts['median_error']:.2%} median, {facts['mean_error']:.2%} mean"
    )
