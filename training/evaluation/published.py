"""Compares measured accuracies with published ones."""

import csv
from pathlib import Path

from regnet_tf import Preprocessing, WeightsInfo
from regnet_tf._files import print_paths, replacing
from regnet_tf._markdown import markdown_table
from regnet_tf.published import IMAGENET, PUBLISHED_SETS

_COLUMNS = ("model", "by", "pixels", "of", "interpolation", "published", "here", "difference")


def published_set(data: str | None, real_labels: bool = False) -> str:
    """Returns the data set of the published accuracies to compare with.

    Args:
        data: name of a data set, or path of a folder whose name is that of the data set, such as
            "imagenet_a" or "imagenet-a".
        real_labels: whether the images have the labels of ImageNet-ReaL.

    Returns:
        A key of `PUBLISHED_SETS`: ImageNet's validation set if the name is none of them.
    """
    if real_labels:
        return "imagenet2012_real"
    name = Path((data or "").partition(":")[0]).name.lower().replace("-", "_")
    return name if name in PUBLISHED_SETS else IMAGENET


def is_subset(data: str) -> bool:
    """Whether a data set, by its name as in `published_set`, has some of ImageNet's classes."""
    return PUBLISHED_SETS[published_set(data)].classes < PUBLISHED_SETS[IMAGENET].classes


def about_size(dataset: str, name: str, images: int) -> str | None:
    """Returns a line if a data set has another number of images than the published one, or None.

    Args:
        dataset: a key of `PUBLISHED_SETS`.
        name: name of the data set that is tested on.
        images: its number of images.
    """
    published = PUBLISHED_SETS[dataset]
    if images == published.images:
        return None
    return (
        f"Published accuracies are of the {published.images:,} images of {published.title};"
        f" {name} has {images:,}."
    )


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
