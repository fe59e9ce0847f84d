"""The files that the suite damages, made once by the programs themselves."""

import csv
import importlib.util
import json
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ..populations import TINY
from .processes import Ended, Process, Scenario, forked, job

#: A run of few seconds: arguments of `regnet train`.
TINY_RUN = ("--recipe", "smoke", "--set=schedule.epochs=3", "--checkpoint-steps=1")
#: Arguments of `regnet export`.
TINY_EXPORT = (
    *("--format", "saved_model", "tflite"),
    *("--precision", "float32", "int8", "--name", "tiny"),
)
HAS_TORCH = importlib.util.find_spec("torch") is not None


class Originals:
    """Files of every kind that the project reads. They stay as they are.

    Args:
        folder: a `Path` to make them in.

    Attributes:
        run: folder of a finished run.
        export: folder of its export.
        sweep: folder of a population; `spec` is its specification.
        weights: folder of its weights in every format.
        files: folder of a small network in files that other programs wrote.
        photos: folder of images of two classes, with a `labels.csv`.
        ended: the `Ended` of the program that made a folder, by the folder's attribute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run, self.export, self.sweep = folder / "run", folder / "export", folder / "sweep"
        self.weights, self.photos = folder / "weights", folder / "photos"
        self.files = folder / "files"
        self.spec = folder / "tiny.json"
        self.ended: dict[str, Ended] = {}

    def scenarios(self) -> list[Scenario]:
        """Returns the scenarios that make them."""
        for folder in (self.folder, self.weights, self.files):
            folder.mkdir(parents=True)
        self.spec.write_text(json.dumps(TINY))
        _write_photos(self.photos)
        return [self._run(), self._sweep()]

    def copy(self, folder: Path, name: str) -> Path:
        """Returns a copy of one of the folders, to damage."""
        return shutil.copytree(getattr(self, name), folder / name)

    def _run(self):
        yield from self._made("run", forked("train", *TINY_RUN, "--out", self.run))
        yield from self._made("weights", job(_write_weights, self.run, self.weights))
        yield from self._made("files", job(_write_files, self.files))
        command = forked("export", self.run, *TINY_EXPORT, "--out", self.export)
        yield from self._made("export", command)

    def _sweep(self):
        options = ("--out", self.sweep, "--executor", "inline")
        yield from self._made("sweep", forked("sweep", "run", self.spec, *options))

    def _made(self, name, command):
        ended = yield Process(command, self.folder)
        if ended.outcome != "worked":
            raise SystemExit(f"{command.__name__}: {ended.outcome}\n{ended.out}\n{ended.err}")
        self.ended[name] = ended


def _write_weights(run, folder):
    import keras

    import regnet_tf

    model = keras.saving.load_model(run / "model.keras", compile=False)
    state_dict = regnet_tf.to_state_dict(model)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    for suffix in ("npz", "safetensors"):
        regnet_tf.write_state_dict(folder / f"model.{suffix}", state_dict)
    if HAS_TORCH:
        import torch

        tensors = {name: torch.tensor(value) for name, value in state_dict.items()}
        torch.save(tensors, folder / "model.pth")


def _write_files(folder):
    from .. import network_files

    network = network_files.small_network()
    network_files.write_onnx(folder / "net.onnx", network, size=32)
    network_files.write_openvino(folder / "net.xml", network, size=32)


def _write_photos(folder):
    """Writes images in all formats, five of each of two classes, and a table of them."""
    random_state, rows = random.Random(0), [("path", "label")]
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for suffix in ("jpg", "png", "bmp", "gif", "webp"):
            small = np.array([random_state.randrange(256) for _ in range(48)], "uint8")
            picture = Image.fromarray(small.reshape(4, 4, 3)).resize(
                (40, 32), Image.Resampling.BICUBIC
            )
            name = f"{label}/{suffix}.{suffix}"
            picture.save(folder / name)
            rows.append((name, label))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
