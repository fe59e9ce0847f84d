"""Compares measured accuracies with published ones."""

import csv
from pathlib import Path

from regnet_tf import Preprocessing, WeightsInfo
from regnet_tf._files import print_paths, replacing
from regnet_tf._markdown import markdown_table

_COLUMNS = ("model", "by", "pixels", "of", "interpolation", "published", "here", "difference")


def published_setting(info: WeightsInfo, entry: dict) -> Preprocessing:
    """Returns the preprocessing of a published accuracy.

    Args:
        info: a `regnet_tf.WeightsInfo`.
        entry: an entry of its `published`.
    """
    by_pycls = "no antialiasing" in entry["interpolation"]
    return Preprocessing(
        image_size=entry["image_size"],
        crop_fraction=entry.get("crop_fraction"),
        resize_size=entry.get("resize_size"),
        interpolation="pycls" if by_pycls else entry["interpolation"],
        mean=info.mean,
        std=info.std,
    )


def write_comparison(rows: list[dict], out: Path) -> None:
    """Prints and writes the table of published and measured accuracies.

    Args:
        rows: contents of `evaluation.json`, each with its entry of published accuracies.
        out: folder for the table.
    """
    table = []
    for row in rows:
        published = row["published"]
        preprocessing = Preprocessing.from_dict(row["preprocessing"])
        here = 100 * row["accuracy"]
        table.append(
            (
                row["model"],
                published["source"],
                preprocessing.image_size,
                preprocessing.shorter_side,
                preprocessing.interpolation,
                f"{published['top1']:.3f}",
                f"{here:.3f}",
                f"{here - published['top1']:+.3f}",
            )
        )
    text = markdown_table(_COLUMNS, table, left=(0, 1, 4))
    with replacing(out / "published.md") as path:
        path.write_text(f"{text}\n")
    with replacing(out / "published.csv") as path, path.open("w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *table])
    print(text)
    print_paths(out, {"published.md": "this table", "published.csv": "the same"})
