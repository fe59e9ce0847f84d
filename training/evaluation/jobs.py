"""What `regnet evaluate` is asked for: networks, each in one or several settings."""

import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path

from regnet_tf import Preprocessing
from regnet_tf._errors import UserError, nearest
from regnet_tf.published import is_tag, list_weights, weights_info
from regnet_tf.sharing.hub import is_hub_name

from .published import published_setting


@dataclasses.dataclass(frozen=True)
class Job:
    """One network in one setting.

    Attributes:
        model: tag, path, or name on the Hugging Face hub.
        folder: folder for the results, below `--out`.
        preprocessing: None for the network's own.
        published: published accuracy to compare with, an entry of the weights' table, or None.
    """

    model: str
    folder: str
    preprocessing: Preprocessing | None = None
    published: dict | None = None


def jobs_of(models: Iterable[str], dataset: str | None = None) -> list[Job]:
    """Returns the jobs for some networks.

    Args:
        models: tags, patterns of tags, "all", paths, or names on the Hugging Face hub.
        dataset: the key of `regnet_tf.published.PUBLISHED_SETS` whose published settings are
            wanted; None for the network's own setting.

    Raises:
        UserError: if a name is none of these, or no accuracy is published for it.
    """
    tags: list[str] = []
    for name in models:
        pattern = "*" if name == "all" else name
        one = is_tag(pattern) or is_hub_name(pattern) or Path(name).exists()
        matched = [pattern] if one else list_weights(pattern)
        if not matched:
            raise UserError(
                f"`model` must be a tag of published weights, a pattern of them, or a path."
                f" Received: {name!r}.{nearest(name, list_weights())}"
            )
        tags += matched
    if dataset is None:
        return [Job(tag, _folder_name(tag)) for tag in dict.fromkeys(tags)]
    jobs = []
    for tag in dict.fromkeys(tags):
        if not is_tag(tag):
            raise UserError(f"No accuracy is published for {tag}.")
        for entry in weights_info(tag).accuracies(dataset):
            preprocessing = published_setting(weights_info(tag), entry)
            folder = f"{tag}/{entry['source']}_{preprocessing.image_size}"
            jobs.append(Job(tag, folder, preprocessing, entry))
    if not jobs:
        raise UserError(f"No accuracy is published for {', '.join(tags)}.")
    return jobs


def _folder_name(model):
    """Returns the folder name of a model: a tag itself, or the last parts of a path."""
    path = Path(os.path.abspath(model)) if Path(model).name in ("", "..") else Path(model)
    name = path.parent.name + "_" + path.stem if path.stem == "model" else path.name
    return re.sub(r"[^\w.-]", "_", name.strip("_")) or "model"
