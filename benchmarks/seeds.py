"""`python -m benchmarks.seeds`: trains a recipe in several ways, with several seeds each."""

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from regnet_command import run, start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.recipes import Recipe

_EPILOG = """\
examples:
  python -m benchmarks.seeds fashion_mnist
  python -m benchmarks.seeds fashion_mnist --set data.held_out=0.16666667 --set schedule.epochs=5 \\
      --way "batch 128: schedule.batch_size=128 schedule.learning_rate=0.1" \\
      --way "batch 256: schedule.batch_size=256 schedule.learning_rate=0.2"

Each way has a name and changes of the recipe. Without --way, the recipe itself is trained. Run the
same command again to resume it, or with more seeds.

Exit status: 0 after success, 2 after an error."""

_AS_IT_IS = "as it is"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.seeds",
        description="Trains a recipe in several ways, with several seeds each, and compares them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="name of a recipe of regnet train")
    add(
        "--way",
        metavar="NAME: FIELD=VALUE ...",
        action="append",
        help="a name, and fields of the recipe to change; may be repeated",
    )
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="change a field for all ways; may be repeated",
    )
    add("--seeds", metavar="N", type=int, default=3, help="seeds of each way (default: 3)")
    add("--data-dir", metavar="DIR", help="folder of the data set")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the runs and the results (default: runs/seeds/RECIPE)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: _compare(options), parser, "Stopped. Run the same command again to resume.")


def ways_of(recipe: str, shared: list[str], ways: list[str] | None) -> "dict[str, Recipe]":
    """Returns the recipe of each way.

    Args:
        recipe: name of a recipe.
        shared: changes for all ways, as texts `FIELD=VALUE`.
        ways: texts `NAME: FIELD=VALUE ...`; None for the recipe itself.

    Raises:
        ValueError: if a way has no name, two ways have the same one, or a change is wrong.
    """
    from regnet_tf._checks import check
    from training.recipes import get_recipe, parse_change

    base = get_recipe(recipe, dict(map(parse_change, shared)))
    found: dict[str, Recipe] = {}
    for text in ways or [f"{_AS_IT_IS}:"]:
        name, colon, changes = text.partition(":")
        named = bool(colon and name.strip()) and Path(name).name == name
        check("--way", text, named, "of the form NAME: FIELD=VALUE ..., without / in the name")
        check("--way", text, name not in found, "ways with different names")
        found[name] = base.replace(dict(map(parse_change, changes.split())))
    return found


def _compare(options):
    from regnet_tf._checks import check_int
    from regnet_tf._files import print_paths, write_json
    from training.figures import write_figure

    check_int("seeds", options.seeds, minimum=1)
    ways = ways_of(options.recipe, options.set, options.way)
    out = options.out or Path("runs/seeds") / options.recipe
    rows = []
    for seed in range(options.seeds):  # all ways first, so that an early stop leaves a comparison
        for name, recipe in ways.items():
            print(f"{name}, seed {seed}:", flush=True)
            folder = out / f"{name.replace(' ', '_')}_seed_{seed}"
            rows.append(_row(name, recipe.replace({"seed": seed}), folder, options.data_dir))
            write_json(out / "results.json", rows)
    print(table(rows))
    write_figure(figure(rows, options.recipe), out / "comparison.png")
    print_paths(out, {"comparison.png": "the same as a picture", "results.json": "every run"})


def _row(name, recipe, folder, data_dir):
    """Returns the facts of a run, which is trained unless it is finished."""
    from regnet_tf._files import read_json
    from training.loop.identity import is_finished
    from training.loop.train import train_and_evaluate

    if is_finished(folder, recipe):
        run = read_json(folder / "run.json", "results", "seconds", "model", "source")
    else:
        run = train_and_evaluate(recipe, folder, verbose=2, data_dir=data_dir)
    return {
        "way": name,
        "seed": recipe.seed,
        "accuracy": run["results"]["accuracy"],
        "seconds": run["seconds"]["training"],
        "parameters": run["model"]["parameters"],
        "multiply_adds": run["model"]["multiply_adds"],
        "source": run["source"],
    }


def table(rows: list[dict]) -> str:
    """Returns the costs, the accuracy and the minutes of each way as a markdown table.

    Args:
        rows: one dict for each run: "way", "seed", "accuracy" from 0 to 1, "seconds", "parameters",
            "multiply_adds".
    """
    from regnet_tf._markdown import markdown_table

    cells = []
    for way in dict.fromkeys(row["way"] for row in rows):
        runs = [row for row in rows if row["way"] == way]
        accuracies = [100 * row["accuracy"] for row in runs]
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(runs) > 1 else ""
        minutes = statistics.median(row["seconds"] for row in runs) / 60
        cells.append(
            (
                way,
                f"{runs[0]['parameters']:,}",
                f"{runs[0]['multiply_adds'] / 1e6:.1f}",
                f"{statistics.mean(accuracies):.2f}{spread}",
                ", ".join(f"{one:.2f}" for one in accuracies),
                f"{minutes:.0f}",
            )
        )
    heads = ("way", "parameters", "multiply-adds (M)", "accuracy %", "each seed", "minutes")
    return markdown_table(heads, cells)


def figure(rows: list[dict], title: str) -> "Figure":
    """Draws the accuracy of each run, and the mean of each way.

    Args:
        rows: as for `table`.
        title: title of the figure.
    """
    from training.figures import empty_figure

    ways = list(dict.fromkeys(row["way"] for row in rows))
    drawn = empty_figure((7, 1.2 + 0.5 * len(ways)), title)
    axes = drawn.subplots()
    for place, way in enumerate(ways):
        accuracies = [100 * row["accuracy"] for row in rows if row["way"] == way]
        axes.plot(accuracies, [place] * len(accuracies), "o", color="#1f5fa8", alpha=0.7)
        axes.plot([statistics.mean(accuracies)], [place], "|", color="#333333", markersize=18)
    axes.set_yticks(range(len(ways)), ways)
    axes.set_ylim(len(ways) - 0.5, -0.5)
    axes.set_xlabel("test accuracy (%); the bar is the mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


if __name__ == "__main__":
    start(".seeds", __package__)
