"""What the files of a run tell others about the training of its network."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from regnet_tf._errors import UserError, printable
from regnet_tf._files import read_json
from regnet_tf.published import is_tag
from regnet_tf.sharing.hub import is_hub_name

_CHOSEN = ("crop", "policy")  # fields of `augmentation` that are texts


class Training(NamedTuple):
    """How a network was trained and tested.

    Attributes:
        data: name of the data set; of a folder, the last part alone.
        base: tag, or name on the Hugging Face hub, of the weights that the training began with;
            None for others.
        facts: the main fields of the recipe in words, name -> value.
        scores: name of each score -> its value, a share.
        test_images: number of the images on which the scores were measured.
        selected: whether the epoch was selected by these images.
        versions: the programs, "keras 3.15" and so on.
    """

    data: str
    base: str | None
    facts: dict[str, str]
    scores: dict[str, float]
    test_images: int
    selected: bool
    versions: tuple[str, ...]


def training_of(run: Path) -> Training:
    """Returns what the `run.json` of a run tells.

    Paths of the machine are left out.

    Raises:
        UserError: if the file is damaged; the message names it.
    """
    content = read_json(run, "recipe", "data", "results", "versions")
    try:
        return _training(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{run} is damaged: it does not tell the training ({error!r})") from error


def _training(content: dict[str, Any]) -> Training:
    recipe, data, results = content["recipe"], content["data"], content["results"]
    weights = recipe["network"]["weights"]
    base = weights if is_tag(weights) or is_hub_name(weights) else None
    name = printable(re.split(r"[/\\]", str(data["name"]).rstrip("/\\"))[-1])
    schedule, optimizer = recipe["schedule"], recipe["optimizer"]
    facts = {
        "data": name,
        "training images": data["train_images"],
        "held-out images": data["test_images"],
        "recipe": recipe["name"],
        "initial weights": "random" if weights is None else base or "those of a file",
        "epochs": schedule["epochs"],
        "batch size": schedule["batch_size"],
        "optimizer": optimizer["name"],
        "learning rate": f"{schedule['learning_rate']:g}, {schedule['kind']}",
        "weight decay": optimizer["weight_decay"],
        "augmentation": ", ".join(_augmentation(recipe["augmentation"])),
        "label smoothing": recipe["loss"]["label_smoothing"],
        "seed": recipe["seed"],
    }
    return Training(
        data=name,
        base=base,
        facts={key: printable(value) for key, value in facts.items() if value not in (None, "")},
        scores={key: value for key, value in results.items() if isinstance(value, float)},
        test_images=int(data["test_images"]),
        selected=recipe["selection"] is not None,
        versions=tuple(f"{key} {value}" for key, value in content["versions"].items()),
    )


def _augmentation(augmentation):
    for name, value in augmentation.items():
        if name in _CHOSEN and value:
            yield f"{name} {value}"
        elif isinstance(value, bool) and value:
            yield name
        elif isinstance(value, (int, float)) and value:
            yield f"{name} {value:g}"
