"""`python -m benchmarks.finetuning`: compares fine-tuning with training from scratch."""

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regnet_command import run, start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.recipes import Recipe

_EPILOG = """\
examples:
  python -m benchmarks.finetuning
  python -m benchmarks.finetuning --data fashion_mnist --images 10 50

A network is trained on half of the classes of a data set. Then few images of the other classes
train two networks with the same recipe: one starts from the first network's weights, the other
from random ones. This is repeated with other images. Run the same command again to resume it.

Exit status: 0 after success, 2 after an error."""

WAYS = ("fine-tuned", "from scratch")


class Halves(NamedTuple):
    """A data set in two halves.

    Attributes:
        known: classes of the first network.
        new: classes of the compared networks.
        epochs: epochs of the first network.
        changes: changes of the recipe for both.
    """

    known: tuple[str, ...]
    new: tuple[str, ...]
    epochs: int
    changes: dict


#: Data set -> its halves.
DATA = {
    "digits": Halves(tuple("01234"), tuple("56789"), 8, {}),
    "fashion_mnist": Halves(
        ("T-shirt/top", "Pullover", "Coat", "Sandal", "Sneaker"),
        ("Shirt", "Dress", "Trouser", "Bag", "Ankle boot"),
        2,
        {"augmentation.flip": True, "augmentation.rotation": 0.0, "schedule.warmup_epochs": 0},
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finetuning",
        description="Compares fine-tuning with training from scratch on few images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", choices=DATA, default="digits", help="data set (default: digits)")
    add("--data-dir", metavar="DIR", help="folder of the data set")
    add(
        "--images",
        metavar="N",
        type=int,
        nargs="+",
        default=[5],
        help="numbers of training images of each class (default: 5)",
    )
    add("--seeds", metavar="N", type=int, default=5, help="choices of images (default: 5)")
    add(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the runs and the results (default: runs/finetuning/DATA)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: _compare(options), parser, "Stopped. Run the same command again to resume.")


def recipes(data: str, images: int, seed: int, pretrained: Path) -> "dict[str, Recipe]":
    """Returns the recipe of each way.

    Args:
        data: key of `DATA`.
        images: number of training images of each class.
        seed: seed of the choice of images, the order and the new weights.
        pretrained: run of the first network.
    """
    recipe = _recipe(data).replace(
        {
            "data.classes": DATA[data].new,
            "data.images_per_class": images,
            "schedule.epochs": 40,
            "schedule.batch_size": 25,
            "schedule.learning_rate": 0.05,
            "seed": seed,
        }
    )
    tuned = recipe.replace({"network.weights": str(pretrained)})
    return dict(zip(WAYS, (tuned, recipe), strict=True))


def _recipe(data):
    from training.recipes import get_recipe

    return get_recipe("digits", {"data.name": data, **DATA[data].changes})


def _compare(options):
    from regnet_tf._checks import check_int
    from regnet_tf._files import print_paths, write_json
    from training.figures import write_figure

    for images in options.images:
        check_int("images", images, minimum=1)
    check_int("seeds", options.seeds, minimum=1)
    out = options.out or Path("runs/finetuning") / options.data
    halves = DATA[options.data]
    first = _recipe(options.data).replace(
        {"data.classes": halves.known, "schedule.epochs": halves.epochs}
    )
    accuracy = _accuracy(first, out / "pretrained", options.data_dir)
    print(f"The first network: {100 * accuracy:.2f} % on {', '.join(halves.known)}", flush=True)
    rows = []
    for images in options.images:
        for seed in range(options.seeds):
            row: dict = {"images": images, "seed": seed}
            for way, recipe in recipes(options.data, images, seed, out / "pretrained").items():
                folder = out / f"{images}_images_seed_{seed}_{way.replace(' ', '_')}"
                row[way] = _accuracy(recipe, folder, options.data_dir)
            rows.append(row)
            print(_line(f"{images} images a class, seed {seed}", row), flush=True)
    print(table(rows))
    write_json(out / "results.json", rows)
    write_figure(figure(rows, options.data), out / "comparison.png")
    print_paths(out, {"comparison.png": "the same as a picture", "results.json": "every run"})


def _accuracy(recipe, folder, data_dir):
    """Returns the test accuracy of a run, which is trained unless it is finished."""
    from regnet_tf._files import read_json
    from training.loop.identity import is_finished
    from training.loop.train import train_and_evaluate

    if is_finished(folder, recipe):
        return read_json(folder / "run.json", "results")["results"]["accuracy"]
    run = train_and_evaluate(recipe, folder, verbose=0, data_dir=data_dir)
    return run["results"]["accuracy"]


def _line(start, row):
    return f"{start}: " + ", ".join(f"{way} {100 * row[way]:.2f} %" for way in WAYS)


def table(rows: list[dict]) -> str:
    """Returns mean and standard deviation of each way as a markdown table.

    Args:
        rows: one dict for each choice of images, with "images", "seed" and the accuracy of each
            of `WAYS`.
    """
    from regnet_tf._markdown import markdown_table

    cells = []
    for images in dict.fromkeys(row["images"] for row in rows):
        chosen = [row for row in rows if row["images"] == images]
        cells.append((images, *(_mean_and_spread([row[way] for row in chosen]) for way in WAYS)))
    return markdown_table(("images a class", *WAYS), cells)


def _mean_and_spread(accuracies):
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return f"{100 * statistics.mean(accuracies):.1f} ± {100 * spread:.1f} %"


def figure(rows: list[dict], data: str) -> "Figure":
    """Draws the accuracies of both ways; a line joins those of the same images.

    Args:
        rows: as for `table`.
        data: name of the data set.
    """
    from training.figures import empty_figure

    drawn = empty_figure((1.6 + 1.8 * len({row["images"] for row in rows}), 4.2), data)
    axes = drawn.subplots()
    ticks = []
    for place, images in enumerate(dict.fromkeys(row["images"] for row in rows)):
        for row in rows:
            if row["images"] == images:
                heights = [100 * row[way] for way in reversed(WAYS)]
                axes.plot([place, place + 0.5], heights, color="#1f5fa8", marker="o", alpha=0.6)
        ticks += [(place, f"scratch\n{images} a class"), (place + 0.5, "fine-tuned")]
    axes.set_xticks([tick for tick, _ in ticks], [name for _, name in ticks], fontsize=8)
    axes.margins(x=0.15)
    axes.set_ylabel("test accuracy (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


if __name__ == "__main__":
    start(".finetuning", __package__)
