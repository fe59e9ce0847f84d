"""Peers: an untrained network as other libraries write and run it, with the same weights."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from regnet_tf import Preprocessing, to_state_dict
from regnet_tf._errors import UserError
from regnet_tf._torch import import_timm
from regnet_tf.runtimes import open_file

from .contenders import Contender, Opened

#: Packages for each option of the command.
_PACKAGES = {"timm": (), "timm_onnx": ("onnx", "onnxscript", "onnxruntime")}


def check_peers(options: Any) -> None:
    """Raises a `UserError` if a package that the selected peers need is not installed."""
    for option, packages in _PACKAGES.items():
        if getattr(options, option):
            import_timm()
            for package in packages:
                _import_peer(package)


def _import_peer(package):
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"The peers need the package `{package}`:"
            " pip install torch timm onnx onnxscript onnxruntime"
        ) from error


def write_peers(variant: str, model: Any, folder: Path, options: Any) -> list[Contender]:
    """Writes the selected peers of a network.

    Args:
        variant: timm's name of the network.
        model: result of `export.benchmark.networks.make_model`.
        folder: a `Path` to write to.
        options: object with the attributes `unfused`, `timm` and `timm_onnx`, which select them.

    Raises:
        UserError: if timm does not have the network.
    """
    found = []
    if options.unfused:
        path = folder / "unfused"
        model.export(str(path), verbose=False)
        found.append(Contender("SavedModel by model.export()", path, open_unfused))
    if options.timm_onnx:
        path = folder / "timm.onnx"
        _write_onnx(_timm_network(variant, to_state_dict(model)), model.input_shape[1], path)
        found.append(Contender("timm's ONNX", path, open_timm_onnx))
        found.append(Contender("timm's ONNX, normalizing", path, open_timm_onnx_normalizing))
    if options.timm:
        path = folder / f"{variant}.safetensors"
        save_file(to_state_dict(model), path)
        found.append(Contender("timm, eager", path, open_timm))
    return found


def open_unfused(path: Path, threads: int) -> Opened:
    """Opens a SavedModel that `model.export()` wrote; images are normalized before."""
    run = open_file(path, threads)

    def bind(images):
        images = normalized(images)
        return lambda: run(images)

    return Opened(bind)


def open_timm_onnx(path: Path, threads: int) -> Opened:
    """Opens timm's network in ONNX Runtime; images are normalized before."""
    session = _session(path, threads)

    def bind(images):
        images = _channels_first(normalized(images))
        return lambda: session.run(None, {"images": images})[0]

    return Opened(bind)


def open_timm_onnx_normalizing(path: Path, threads: int) -> Opened:
    """Opens timm's network in ONNX Runtime; NumPy normalizes the images in each call."""
    session = _session(path, threads)
    preprocessing = Preprocessing()
    mean, std = (255 * np.array(one, "float32") for one in (preprocessing.mean, preprocessing.std))

    def bind(images):
        def call():
            ready = _channels_first((images - mean) / std)
            return session.run(None, {"images": ready})[0]

        return call

    return Opened(bind)


def open_timm(path: Path, threads: int) -> Opened:
    """Opens timm's network in PyTorch; images are normalized before.

    Args:
        path: a file of the state dict, with timm's name of the network.
        threads: number of threads.
    """
    network = _timm_network(path.stem, load_file(path))
    torch, _ = import_timm()
    torch.set_num_threads(threads)
    network = network.to(memory_format=torch.channels_last)

    def bind(images):
        images = torch.from_numpy(normalized(images)).permute(0, 3, 1, 2)
        images = images.contiguous(memory_format=torch.channels_last)

        def call():
            with torch.inference_mode():
                return network(images).numpy()

        return call

    return Opened(bind)


def _timm_network(variant, weights):
    torch, timm = import_timm()
    if not timm.is_model(variant):
        raise UserError(f"timm has no {variant}; leave --timm and --timm-onnx out.")
    network = timm.create_model(variant).eval()
    network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return network


def _write_onnx(network, size, path):
    """Exports an ONNX file for any batch size, as this project's files have."""
    torch, _ = import_timm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about its own internals
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            str(path),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            verbose=False,
        )


def _session(path, threads):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def normalized(images: np.ndarray) -> np.ndarray:
    """Normalizes images with levels 0 to 255, uint8 `(batch, size, size, 3)`."""
    return np.array(Preprocessing(image_size=images.shape[1]).normalize(images))


def _channels_first(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
