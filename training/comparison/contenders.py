"""Who is compared, and where each of them is installed."""

import dataclasses
import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

from regnet_tf._errors import UserError
from training.comparison.processes import Failure, run_worker

WORKERS = Path(__file__).parent / "workers"
FIND_PACKAGES = WORKERS / "find_packages.py"
_LOOKING = 120  # seconds in which a Python should have said what it has


@dataclasses.dataclass(frozen=True)
class Contender:
    """A library that has RegNets.

    Attributes:
        name: of the library.
        worker: the script that imports, builds and runs its network.
        modules: that it needs.
        packages: whose versions matter, its own first.
        requirements: what pip is asked for; `{package}` stands for the version here.
        how: how its network is run.
        no_export: why it gives no SavedModel and no TFLite file; None where it does.
        variables: pairs of name and value, for the environment of its processes.
        same_as: the contender whose library it is, run otherwise; None for a library of its own.
    """

    name: str
    worker: Path
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    requirements: tuple[str, ...]
    how: str
    no_export: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    same_as: str | None = None

    @property
    def library(self) -> str:
        """By which its worker knows it, and its virtual environment is named."""
        return self.same_as or self.name


@dataclasses.dataclass(frozen=True)
class Installed:
    """A contender in an environment.

    Attributes:
        contender: a `Contender`.
        python: path of the interpreter that has it.
        python_version: of that.
        versions: package -> version.
        own_environment: whether it is in an environment of its own, or in the running Python.
    """

    contender: Contender
    python: str
    python_version: str
    versions: dict[str, str]
    own_environment: bool


_KERAS = "train_on_batch and predict_on_batch, graphs of TensorFlow"
_TORCH = "eager, channels_last, inference_mode"
_NO_EXPORT = "it has no export of its own to SavedModel or TFLite"
# By default glibc gives large tensors back to the system when they are freed, so that PyTorch's
# next step takes their pages one fault at a time. TensorFlow keeps them.
_KEEPING_MEMORY = (
    ("MALLOC_MMAP_THRESHOLD_", "4000000000"),
    ("MALLOC_TRIM_THRESHOLD_", "8000000000"),
)

PROJECT = Contender(
    "regnet_tf",
    WORKERS / "keras_peers.py",
    ("regnet_tf",),
    ("regnet_tf", "tensorflow", "keras"),
    (),
    f"{_KERAS}; files by python -m export",
)

_TIMM = Contender(
    "timm",
    WORKERS / "torch_peers.py",
    ("torch", "torchvision", "timm"),
    ("timm", "torch"),
    ("torch", "torchvision", "timm"),
    _TORCH,
    _NO_EXPORT,
)

PEERS = {
    peer.name: peer
    for peer in (
        _TIMM,
        dataclasses.replace(
            _TIMM,
            name="timm_tuned",
            how="as timm, with freed memory kept: " + " ".join(map("=".join, _KEEPING_MEMORY)),
            variables=_KEEPING_MEMORY,
            same_as="timm",
        ),
        Contender(
            "torchvision",
            WORKERS / "torch_peers.py",
            ("torch", "torchvision"),
            ("torchvision", "torch"),
            ("torch", "torchvision"),
            f"{_TORCH}; its classes, given the stages of the network",
            _NO_EXPORT,
        ),
        Contender(
            "transformers",
            WORKERS / "torch_peers.py",
            ("torch", "transformers"),
            ("transformers", "torch"),
            ("torch", "transformers"),
            f"{_TORCH}; a configuration with the stages of the network",
            _NO_EXPORT,
        ),
        Contender(
            "kimm",
            WORKERS / "keras_peers.py",
            ("kimm", "tensorflow"),
            ("kimm", "tensorflow", "keras"),
            ("kimm", "tensorflow=={tensorflow}", "keras=={keras}"),
            f"{_KERAS}; files by model.export and kimm.export",
        ),
        Contender(
            "tf_keras",
            WORKERS / "keras_peers.py",
            ("tf_keras", "tensorflow"),
            ("tf_keras", "tensorflow"),
            ("tf_keras", "tensorflow=={tensorflow}"),
            f"{_KERAS}; files by model.export and TFLiteConverter",
        ),
    )
}


def environments_folder() -> Path:
    """Where environments are kept unless someone says otherwise: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "regnet_tf" / "peers"


def install(contender, folder):
    """Makes an environment for a peer and installs it there by pip, whose settings count.

    Args:
        contender: a `Contender`.
        folder: a `Path`, of the environments.

    Raises:
        UserError: where it can not be done, with what pip says.
    """
    python = _python_of(folder / contender.library)
    try:
        if not python.exists():
            venv.create(folder / contender.library, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", *_resolved(contender.requirements)]
        variables = _foreign_environment()
        subprocess.run(command, check=True, env=variables, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr or "").splitlines() if line.startswith("ERROR")]
        reason = said[-1] if said else f"pip ended with status {error.returncode}"
        raise UserError(f"{contender.name} could not be installed: {reason}") from error
    except OSError as error:
        raise UserError(f"{contender.name} could not be installed: {error}") from error


def locate(contender, folder) -> Installed | None:
    """Finds a contender in its own environment, else in the running Python, else None.

    Args:
        contender: a `Contender`.
        folder: a `Path`, of the environments.
    """
    for python in (_python_of(folder / contender.library), Path(sys.executable)):
        own = python != Path(sys.executable)
        if own and not python.exists():
            continue
        request = {"modules": contender.modules, "packages": contender.packages}
        try:
            found = run_worker(str(python), FIND_PACKAGES, request, _LOOKING, environment(own))
        except Failure:  # an environment that is broken has nothing
            continue
        if not found["missing"]:
            return Installed(contender, str(python), found["python"], found["versions"], own)
    return None


def environment(own) -> dict[str, str]:
    """The variables of a worker.

    Args:
        own: whether it runs in an environment of its own, which this project is no part of.
    """
    if own:
        return _foreign_environment()
    root = str(Path(__file__).parents[2])
    path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**_foreign_environment(), "PYTHONPATH": os.pathsep.join(path)}


def _foreign_environment():
    left_out = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TF_USE_LEGACY_KERAS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {
        **kept,
        "CUDA_VISIBLE_DEVICES": "-1",
        "HF_HUB_OFFLINE": "1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _python_of(folder):
    scripts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return folder.joinpath(*scripts)


def _resolved(requirements):
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}
    return [requirement.format(**versions) for requirement in requirements]
