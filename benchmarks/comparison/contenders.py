"""The contenders of the comparison, and the environments in which they are installed."""

import dataclasses
import importlib.metadata
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from regnet_command import VARIABLES

from regnet_tf._errors import UserError
from regnet_tf._regimes import in_a_shell

from .parts import FORMS, LIBRARY, PARTS
from .processes import Failure, run_worker

_WORKERS = Path(__file__).parent / "workers"
_FIND_PACKAGES = _WORKERS / "find_packages.py"
_KERAS_PEERS = _WORKERS / "keras_peers.py"
_TORCH_PEERS = _WORKERS / "torch_peers.py"
#: Worker that runs the files that other workers export.
EXPORTED_FILES = _WORKERS / "exported_files.py"
_LOOKING = 120  # time-out in seconds for the list of packages of a Python


@dataclasses.dataclass(frozen=True)
class Exporter:
    """A worker script that exports files.

    Attributes:
        worker: path of the script.
        peer: the script's name of the peer that has the network.
        form: form of the files.
    """

    worker: Path
    peer: str
    form: str


@dataclasses.dataclass(frozen=True)
class Contender:
    """This project or a peer: another library that has RegNets, or a runtime for them.

    Attributes:
        name: name of the contender; its worker uses the same name.
        worker: the script that imports, builds and runs its network.
        modules: modules that it needs.
        packages: packages with versions to report, its own package first.
        requirements: requirements for pip. `{package}` is replaced by the version installed here.
            If empty, the contender comes with this project and runs in the running Python.
        how: description of how its network is run.
        parts: the parts in `PARTS` in which it is measured.
        source: the `Exporter` of the file that a runtime runs; None for a library, which has its
            own networks.
        variables: pairs of name and value for the environment of its processes. The user's
            variables take precedence.
        same_as: name of the contender with the same library, if this one only runs it differently;
            else None.
    """

    name: str
    worker: Path
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    requirements: tuple[str, ...]
    how: str
    parts: tuple[str, ...] = PARTS
    source: Exporter | None = None
    variables: tuple[tuple[str, str], ...] = ()
    same_as: str | None = None

    @property
    def library(self) -> str:
        """The library's name, which is also the name of its virtual environment."""
        return self.same_as or self.name

    @property
    def installation(self) -> str:
        """The command that installs the contender."""
        if self.requirements:
            return f"python -m benchmarks.compare --install {self.name}"
        return "pip install 'regnet_tf[export]'"

    def exporter(self, part: str) -> Exporter | None:
        """Returns the exporter of the file to run in a part; None if it runs its own network."""
        return Exporter(self.worker, self.name, part) if part in FORMS else self.source


@dataclasses.dataclass(frozen=True)
class Installed:
    """A contender that is installed in an environment.

    Attributes:
        contender: a `Contender`.
        python: path of the interpreter that has it installed.
        python_version: version of the interpreter.
        versions: dict: package -> version.
        own_environment: True for a separate environment, False for the running Python.
    """

    contender: Contender
    python: str
    python_version: str
    versions: dict[str, str]
    own_environment: bool


_KERAS = "train_on_batch and predict_on_batch, graphs of TensorFlow"
_TORCH = "eager, channels_last, inference_mode"
# By default, glibc returns the memory of large tensors to the system when they are freed. PyTorch's
# next step then gets it back one page fault at a time. TensorFlow with oneDNN keeps the memory.
_KEEPING_MEMORY = (
    ("MALLOC_MMAP_THRESHOLD_", "4000000000"),
    ("MALLOC_TRIM_THRESHOLD_", "8000000000"),
)


PROJECT = Contender(
    "regnet_tf",
    _KERAS_PEERS,
    ("regnet_tf",),
    ("regnet_tf", "tensorflow", "keras"),
    (),
    f"{_KERAS}; regnet_tf.SGD; {in_a_shell(VARIABLES)}; files by regnet export",
    variables=tuple(VARIABLES.items()),
)

_TIMM = Contender(
    "timm",
    _TORCH_PEERS,
    ("torch", "torchvision", "timm"),
    ("timm", "torch"),
    ("torch", "torchvision", "timm"),
    _TORCH,
    LIBRARY,
)

_TIMM_TUNED = dataclasses.replace(
    _TIMM,
    name="timm_tuned",
    how=f"as timm, with freed memory kept: {in_a_shell(_KEEPING_MEMORY)}",
    variables=_KEEPING_MEMORY,
    same_as="timm",
)


def _of_onnx(name, how):
    """Returns a contender that runs timm's network from an ONNX file."""
    return Contender(
        name,
        EXPORTED_FILES,
        (*_TIMM.modules, "onnx", "onnxscript", name),
        (name, *_TIMM.packages),
        (*_TIMM.requirements, "onnx", "onnxscript", name),
        f"timm's network by torch.onnx.export, batches of any size; {how}",
        ("inference", "latency"),
        Exporter(_TORCH_PEERS, "timm", "onnx"),
    )


PEERS = {
    peer.name: peer
    for peer in (
        _TIMM,
        _TIMM_TUNED,
        dataclasses.replace(
            _TIMM_TUNED,
            name="timm_compiled",
            how="as timm_tuned, by torch.compile; each process compiles anew, in the first step",
        ),
        Contender(
            "torchvision",
            _TORCH_PEERS,
            ("torch", "torchvision"),
            ("torchvision", "torch"),
            ("torch", "torchvision"),
            f"{_TORCH}; its classes, given the stages of the network",
            LIBRARY,
        ),
        Contender(
            "transformers",
            _TORCH_PEERS,
            ("torch", "transformers"),
            ("transformers", "torch"),
            ("torch", "transformers"),
            f"{_TORCH}; a configuration with the stages of the network",
            LIBRARY,
        ),
        _of_onnx("onnxruntime", "CPUExecutionProvider, all optimizations of the graph"),
        _of_onnx("openvino", "performance hint LATENCY, precision f32"),
        Contender(
            "kimm",
            _KERAS_PEERS,
            ("kimm", "tensorflow"),
            ("kimm", "tensorflow", "keras"),
            ("kimm", "tensorflow=={tensorflow}", "keras=={keras}"),
            f"{_KERAS}; files by model.export and kimm.export",
        ),
        Contender(
            "tf_keras",
            _KERAS_PEERS,
            ("tf_keras", "tensorflow"),
            ("tf_keras", "tensorflow"),
            ("tf_keras", "tensorflow=={tensorflow}"),
            f"{_KERAS}; files by model.export and TFLiteConverter",
        ),
        Contender(
            "litert",
            EXPORTED_FILES,
            ("ai_edge_litert", "regnet_tf"),
            ("ai-edge-litert", *PROJECT.packages),
            (),
            "regnet_tf's network by regnet export, a float32 .tflite file of the batch; XNNPACK",
            ("inference", "latency"),
            Exporter(_KERAS_PEERS, PROJECT.name, "tflite"),
        ),
    )
}


def environments_folder() -> Path:
    """Returns the default folder of the environments, in the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "regnet_tf" / "peers"


def install(contender, folder, shell):
    """Creates an environment for a peer and installs the peer there by pip, with pip's settings.

    Args:
        contender: a `Contender`.
        folder: a `Path`: the folder of the environments.
        shell: the user's environment variables.

    Raises:
        UserError: if the installation fails; it gives pip's message.
    """
    python = _python_of(folder / contender.library)
    try:
        if not python.exists():
            venv.create(folder / contender.library, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", *_resolved(contender.requirements)]
        variables = environment(shell, own=True)
        subprocess.run(command, check=True, env=variables, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr or "").splitlines() if line.startswith("ERROR")]
        reason = said[-1] if said else f"pip ended with status {error.returncode}"
        raise UserError(f"{contender.name} could not be installed: {reason}") from error
    except OSError as error:
        raise UserError(f"{contender.name} could not be installed: {error}") from error


def locate(contender: Contender, folder: Path, shell: Mapping[str, str]) -> Installed | None:
    """Finds a contender in its own environment, else in the running Python; None if missing.

    Args:
        contender: a `Contender`.
        folder: a `Path`: the folder of the environments.
        shell: the user's environment variables.
    """
    own_python = _python_of(folder / contender.library)
    places = [(sys.executable, False)]
    if contender.requirements and own_python.exists():
        places.insert(0, (str(own_python), True))
    request = {"modules": contender.modules, "packages": contender.packages}
    for python, own in places:
        variables = environment(shell, own)
        try:
            found = run_worker(python, _FIND_PACKAGES, request, _LOOKING, variables)
        except Failure:  # a broken environment counts as missing
            continue
        if not found["missing"]:
            return Installed(contender, python, found["python"], found["versions"], own)
    return None


def environment(shell: Mapping[str, str], own: bool) -> dict[str, str]:
    """Returns the environment variables of a worker.

    Args:
        shell: the user's variables, without the variables that this program has set for itself.
        own: whether the worker runs in a separate environment, without this project.
    """
    left_out = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TF_USE_LEGACY_KERAS")
    variables = {
        **{name: value for name, value in shell.items() if name not in left_out},
        "CUDA_VISIBLE_DEVICES": "-1",
        "HF_HUB_OFFLINE": "1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if not own:
        path = [str(Path(__file__).parents[2]), *filter(None, [shell.get("PYTHONPATH")])]
        variables["PYTHONPATH"] = os.pathsep.join(path)
    return variables


def _python_of(folder):
    scripts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return folder.joinpath(*scripts)


def _resolved(requirements):
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}
    return [requirement.format(**versions) for requirement in requirements]
