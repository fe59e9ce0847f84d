"""Writes a trained network as a folder that timm, this library, Keras and KerasHub read."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import keras

from regnet_tf._errors import MissingPackageError, UserError, first_line
from regnet_tf._files import naming_file, read_json, replacing, write_json
from regnet_tf.readers import write_state_dict
from regnet_tf.sharing.card import LIBRARIES, model_card
from regnet_tf.sharing.hub import CARD
from regnet_tf.sharing.network import SharedNetwork
from regnet_tf.sharing.timm_config import CONFIG_FILE, timm_config

#: The first file that is written. It tells a folder of this module from others.
_FIRST = "model.safetensors"


class Written(NamedTuple):
    """What `write_folder` has written.

    Attributes:
        files: name of each file -> what it is.
        notes: lines that say what a library cannot read.
    """

    files: dict[str, str]
    notes: tuple[str, ...]


def write_folder(
    source: str | os.PathLike,
    folder: Path,
    place: str | None = None,
    licence: str | None = None,
) -> Written:
    """Writes a trained network and its model card into a folder.

    Args:
        source: a tag, a folder that `regnet train` wrote, or a `.keras` file.
        folder: a new or empty folder; or one that this function wrote, whose files are replaced.
        place: `hf://user/name` where it will be, for the model card; default: the folder's name.
        licence: name of the licence; default: that of published weights, also of those that the
            training began with.

    Raises:
        UserError: for another source, a folder with other files, or one that cannot be written.
        OSError: for weights that cannot be read.
    """
    _check_folder(folder)
    network = SharedNetwork.load(source, licence)
    with naming_file(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_state_dict(folder / _FIRST, network.state_dict)
    with replacing(folder / "model.keras") as partial:
        if network.file is None:
            network.model.save(partial)
        else:
            shutil.copyfile(network.file, partial)
    of_keras_hub, note_of_keras_hub = _write_preset(network, folder)
    of_timm, note_of_timm = timm_config(
        network.config,
        first_convolution=_first_convolution(network.state_dict),
        classes=0 if network.kind == "segmentation" else network.classes,
        class_names=None if network.kind == "segmentation" else network.class_names,
        preprocessing=network.preprocessing,
        licence=network.licence,
        output_stride=network.output_stride,
    )
    # One file for two libraries: neither looks at the keys of the other.
    write_json(folder / CONFIG_FILE, {**of_keras_hub, **of_timm})
    reads = {
        "timm": note_of_timm is None,
        "regnet_tf": network.kind != "segmentation",
        "Keras": True,
        "KerasHub": note_of_keras_hub is None,
    }
    libraries = tuple(name for name in LIBRARIES if reads[name])
    _write_card(network, folder, place, libraries)
    notes = [note_of_timm, note_of_keras_hub, *_notes(network)]
    return Written(_files(reads), tuple(note for note in notes if note))


def write_keras_hub(model: keras.Model, source: str | os.PathLike, folder: Path) -> None:
    """Writes a network and its model card into a folder that KerasHub reads.

    Args:
        model: made by `build_regnet`.
        source: where its weights come from: a tag, a run, or a file.
        folder: the folder; files of another preset in it are replaced.

    Raises:
        ValueError: for another model, or one made by `fuse`.
        UserError: if a file cannot be written.
    """
    from regnet_tf.keras_hub import write_preset

    write_preset(model, folder)
    _write_card(SharedNetwork.of_model(model, source, model.name), folder, None, ("KerasHub",))


def _write_card(network, folder, place, libraries):
    with replacing(folder / CARD) as partial:
        card = model_card(network, place or folder.resolve().name, libraries)
        partial.write_text(card, encoding="utf-8")


def _check_folder(folder):
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} must be a folder. It is a file.")
    if folder.exists() and any(folder.iterdir()) and not (folder / _FIRST).is_file():
        raise UserError(f"{folder} holds other files, which would be shared. Name another folder.")


def _write_preset(network, folder):
    """Writes KerasHub's files; returns the content of its `config.json`, and why they are missing.

    The content is empty, and the reason None where the files were written.
    """
    try:
        from regnet_tf.keras_hub import write_preset
    except MissingPackageError as error:
        return {}, f"KerasHub cannot read it. {error}"
    try:
        write_preset(network.model, folder)
    except UserError:  # it could not be written
        raise
    except ValueError as error:  # a network within another model
        return {}, f"KerasHub cannot read it. {first_line(error)}"
    return read_json(folder / CONFIG_FILE), None


def _first_convolution(state_dict):
    kernel = next(name for name, array in state_dict.items() if array.ndim == 4)
    return kernel.removesuffix(".weight")


def _notes(network):
    if network.assumed:
        yield "The network does not know its preprocessing; ImageNet's was written."
    if network.has_other_layers:
        yield "timm and KerasHub read stem, stages and head, without the network's other layers."
    if network.licence is None:
        yield "No licence is stated. --licence states one, such as mit or apache-2.0."


def _files(reads):
    of_timm = "for timm" if reads["timm"] else "weights in timm's names"
    files = {"model.keras": "for regnet_tf and Keras", _FIRST: of_timm}
    if reads["KerasHub"]:
        files["model.weights.h5"] = "for KerasHub, with the .json files"
    files[CONFIG_FILE] = "the network, its input and its classes"
    files[CARD] = "model card"
    return files
