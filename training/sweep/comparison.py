"""Compares populations: numbers, figures, and a page with both."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from regnet_tf._checks import check_choice, check_int
from regnet_tf._errors import import_optional
from regnet_tf._files import replacing, write_json
from regnet_tf._locking import writing_to

from ..figures import write_figure
from ..loop.directory import make_directory
from . import charts, width_charts
from .findings import findings
from .naming import title
from .page import page
from .populations import matching_weights, read_populations
from .statistics import pair_facts, population_facts

FILES = {
    "index.html": "everything on one page",
    "analysis.json": "the numbers",
    "best.json": "the best networks",
    "best/*.json": "each of them, for `--variant`",
    "*.png": "the pictures",
}


def compare(
    folders: Sequence[str | Path],
    out: Path,
    error: str = "final",
    best: int = 3,
    seed: int = 0,
    say: Callable = print,
) -> str:
    """Compares populations and writes `FILES`.

    Args:
        folders: directories written by `run`, in the order of the study: each population is
            compared with the one before it.
        out: directory for the files; created if missing.
        error: error of a network: "final" after the last epoch, or "least" over all epochs.
        best: number of best networks to keep of each population.
        seed: seed of the bootstraps.
        say: function that prints a line of progress.

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
    networks = sum(map(len, populations))
    say(f"Read {len(populations)} populations with {networks} trained networks.")
    weights = matching_weights(populations)
    out = Path(out)
    make_directory(out)
    facts = _facts(populations, weights, error, seed, say)
    chosen = [
        model
        for number, population in enumerate(populations, start=1)
        for model in _best(population, number, best)
    ]
    with writing_to(out):
        captions = _draw(_pictures(populations, weights, facts, seed), out, say)
        _write(out, facts, chosen, captions)
    return "\n".join(map(_line, facts["populations"]))


def _facts(populations, weights, error, seed, say):
    """Returns the content of `analysis.json`."""
    say("Counting the best ranges and the statistics of all pairs ...")
    facts = {
        "error": error,
        "seed": seed,
        "populations": [
            population_facts(*one, seed) for one in zip(populations, weights, strict=True)
        ],
        "kolmogorov_smirnov": pair_facts(populations, weights, seed),
    }
    return {**facts, "findings": findings(facts)}


def _best(population, number, count):
    """Returns the best networks: population, error, costs, configuration, and its file."""
    places = np.argsort(population.errors, kind="stable")[:count]
    return [
        {
            "population": population.name,
            "network": title(population.configs[place]),
            "error": float(population.errors[place]),
            "complexity": {name: int(counts[place]) for name, counts in population.costs.items()},
            "identity": population.configs[place].identity,
            "file": f"best/{number}_{rank}.json",
            "config": population.configs[place].to_dict(),
        }
        for rank, place in enumerate(places, start=1)
    ]


def _pictures(populations, weights, facts, seed):
    """Returns a dict: file name -> (function that draws the figure, its caption)."""
    names = ", ".join(population.name for population in populations)
    pairs = [pair for pair in facts["kolmogorov_smirnov"] if pair["step"]]
    of_all = facts["populations"]
    pictures = {
        "distributions.png": (
            lambda: charts.distributions(populations, weights, seed),
            f"Error distributions of {names}, as they are and with matching flops",
        ),
        "search.png": (
            lambda: charts.searches(populations),
            f"Expected error of the best of n networks of {names}",
        ),
        "complexity.png": (
            lambda: charts.complexities(populations),
            f"Errors of {names} against flops, parameters and activations",
        ),
        "best_values.png": (
            lambda: charts.best_values(of_all),
            "Best depth, width multiplier, bottleneck ratio and group width. Thin: what was tried;"
            " shaded: the 95 % range; dot: the median; dashed: the best value of the paper",
        ),
        "fits.png": (
            lambda: width_charts.fits(populations),
            f"Error of the linear fit and test error of {names}, as in figure 8 of the paper",
        ),
    }
    if pairs:
        pictures["steps.png"] = (
            lambda: charts.steps(populations, pairs, seed),
            f"Error distributions of {names}, each with the one before it, 95 % bands by bootstrap",
        )
    for place, population in enumerate(populations):
        pictures |= _pictures_of(population, place, of_all[place]["best_ranges"])
    return pictures


def _pictures_of(population, place, ranges):
    return {
        f"parameters_{place + 1}.png": (
            lambda: charts.parameters(population, place, ranges),
            f"Errors of {population.name} against each parameter, best range shaded",
        ),
        f"networks_{place + 1}.png": (
            lambda: width_charts.networks(population, place),
            f"Block widths of the best and the worst networks of {population.name}",
        ),
    }


def _draw(pictures, out, say):
    """Draws and writes the pictures one by one; returns file name -> caption."""
    for number, (name, (draw, _)) in enumerate(pictures.items(), start=1):
        say(f"Picture {number} of {len(pictures)}: {name}")
        with charts.styled():
            write_figure(draw(), out / name)
    return {name: caption for name, (_, caption) in pictures.items()}


def _write(out, facts, best, captions):
    make_directory(out / "best")
    for model in best:
        write_json(out / model["file"], model["config"])
    for name, content in (("analysis.json", facts), ("best.json", best)):
        write_json(out / name, content)
    with replacing(out / "index.html") as path:
        path.write_text(page(facts, best, captions, out), encoding="utf-8")


def _line(facts):
    return (
        f"{facts['name']}: {facts['networks']} networks, error {facts['least_error']:.2%} at least,"
        f" {facts['median_error']:.2%} median, {facts['mean_error']:.2%} mean"
    )
