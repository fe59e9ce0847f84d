"""Measurements of a comparison: plans them in turns, runs them and keeps the results."""

import dataclasses
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

from regnet_tf import get_config
from regnet_tf._checks import check, check_choice
from regnet_tf._regimes import NATIVE, REGIMES
from training.results import FAILED

from .contenders import EXPORTED_FILES, Installed, environment
from .parts import ANY_BATCH, BATCHED, FORMS
from .processes import Failure, run_worker

EXPORT = "export"
MEASURED = "measured"
EXPORTED = "exported"
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that all measurements of a part share.

    Attributes:
        batch_size: number of images in a call.
        image_size: height and width of the images, in pixels.
        threads: number of threads to compute with.
        seconds: duration for which steps are repeated.
    """

    batch_size: int
    image_size: int
    threads: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement, which is one process.

    Attributes:
        variant: key of the network.
        turn: number of the turn, from 1; 0 for an export.
        part: one of `PARTS`, or `EXPORT`.
        installed: an `Installed` contender.
        settings: a `Settings`.
        regime: one of `REGIMES`; `NATIVE` for an export.
        form: form of the file, for an export.
    """

    variant: str
    turn: int
    part: str
    installed: Installed
    settings: Settings
    regime: str = NATIVE
    form: str | None = None

    @property
    def name(self):
        """The contender's name."""
        return self.installed.contender.name

    def to_dict(self) -> dict:
        """Returns a description of the measurement, without the path of the environment."""
        fields = ("variant", "regime", "turn", "part", "form")
        return {
            "contender": self.name,
            **{field: getattr(self, field) for field in fields},
            "settings": dataclasses.asdict(self.settings),
            "versions": self.installed.versions,
        }

    @property
    def identity(self) -> str:
        """Key of the measurement; measurements with equal keys are done once."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_result(result):
    """Raises a ValueError, TypeError or KeyError if a dict is not a result of `Runner`."""
    check_choice("status", result["status"], (MEASURED, FAILED))
    check("identity", result["identity"], isinstance(result["identity"], str), "a text")


def plan(
    variants: list[str],
    regimes: list[str],
    installed: list[Installed],
    settings: Settings,
    parts: list[str],
    repeats: int,
) -> list[Measurement]:
    """Returns all measurements except the exports; contenders take turns."""
    one_image = dataclasses.replace(settings, batch_size=1)
    return [
        Measurement(variant, turn, part, one, settings if part in BATCHED else one_image, regime)
        for variant in variants
        for turn in range(1, repeats + 1)
        for regime in regimes
        for part in parts
        for one in installed
        if part in one.contender.parts
    ]


class Runner:
    """Runs measurements one at a time, and keeps their results.

    Args:
        folder: a `Path`: the folder for exported networks.
        shell: the user's environment variables.
        done: dict: identity -> result of an earlier measurement.
        append: function that saves a result.
        timeout: maximum seconds that a process may take.
        say: called with a line about each measurement.
    """

    def __init__(self, folder, shell, done, append, timeout, say):
        self._folder = folder / EXPORTED
        self._shell = shell
        self._done = done
        self._append = append
        self._timeout = timeout
        self._say = say
        self._todo = self._count = 0  # measurements, without exports
        self._spent = 0.0  # seconds

    def run(self, measurements: list[Measurement]) -> list[dict]:
        """Runs the measurements that are not done yet.

        A measurement that fails in one turn is left out in the later turns.

        Returns:
            The results in order, including those of the exports.
        """
        self._todo = sum(one.identity not in self._done for one in measurements)
        results, failed = [], set()
        for measurement in measurements:
            what = (measurement.variant, measurement.regime, measurement.part, measurement.name)
            if what in failed:
                self._todo -= measurement.identity not in self._done
                continue
            found = self._results(measurement)
            results += found
            if found[-1]["status"] == FAILED:
                failed.add(what)
        return results

    def _results(self, measurement):
        """Returns the result of a measurement, after the result of the export that it needs.

        If the export failed, the measurement fails with the same reason.
        """
        contender, part = measurement.installed.contender, measurement.part
        worker, peer = contender.worker, contender.name
        exporter = contender.exporter(part)
        if exporter is None:
            return [self._result(measurement, worker, peer)]
        exported = self._exported(measurement, exporter)
        if exported["status"] == FAILED:
            self._todo -= measurement.identity not in self._done
            failure = {key: exported[key] for key in ("status", "reason")}
            return [{**measurement.to_dict(), **failure}]
        if part in FORMS:
            worker, peer = EXPORTED_FILES, part
        request = {key: exported["facts"][key] for key in ("file", "signature")}
        result = self._result(measurement, worker, peer, request)
        return [{**exported, "regime": measurement.regime}, result]

    def _exported(self, measurement, exporter):
        """Returns the result of an export; repeats it if a file that is needed is gone."""
        export = _export(measurement, exporter.form)
        folder = self._folder / f"{export.name}-{export.variant}-{export.form}-{export.identity}"
        done = self._done.get(export.identity)
        gone = done and done["status"] == MEASURED and not Path(done["facts"]["file"]).exists()
        if gone and measurement.identity not in self._done:
            del self._done[export.identity]
        if export.identity not in self._done:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        request = {"folder": str(folder.resolve()), "form": export.form}
        return self._result(export, exporter.worker, exporter.peer, request)

    def _result(self, measurement, worker, peer, more=None):
        """Returns the known result of a measurement, or measures it now.

        Args:
            measurement: a `Measurement`.
            worker: path of the worker script.
            peer: the script's name of the peer.
            more: more entries of the request, a dict.
        """
        if measurement.identity in self._done:
            return self._done[measurement.identity]
        request = {
            "peer": peer,
            "part": measurement.part,
            "network": network(measurement.variant),
            **dataclasses.asdict(measurement.settings),
            **(more or {}),
        }
        python, variables = _place(measurement, self._shell)
        result = {"identity": measurement.identity, **measurement.to_dict()}
        start = time.perf_counter()
        try:
            facts = run_worker(python, worker, request, self._timeout, variables)
            result.update(status=MEASURED, facts=facts)
        except Failure as failure:
            result.update(status=FAILED, reason=failure.reason, log=failure.log)
        result["seconds"] = time.perf_counter() - start
        self._keep(result)
        return result

    def _keep(self, result):
        self._append(result)
        self._done[result["identity"]] = result
        self._spent += result["seconds"]
        self._count += result["part"] != EXPORT
        self._say(self._progress(result))

    def _progress(self, result):
        config = get_config(result["variant"])
        what = f"turn {result['turn']}" if result["turn"] else f"of {result['form']}"
        remaining = self._spent / max(self._count, 1) * (self._todo - self._count)
        return (
            f"[{self._count}/{self._todo}] {config.name}, {result['regime']},"
            f" {result['contender']}, {result['part']} {what}:"
            f" {outcome(result)} ({result['seconds']:.0f} s;"
            f" about {remaining / 60:.0f} min left)"
        )


def _export(measurement, form):
    """Returns the export that a measurement needs; it is the same in every turn and regime."""
    settings = measurement.settings
    if form in ANY_BATCH:
        settings = dataclasses.replace(settings, batch_size=1)
    changes = {"turn": 0, "part": EXPORT, "regime": NATIVE, "form": form}
    return dataclasses.replace(measurement, settings=settings, **changes)


def _place(measurement, shell):
    """Returns the Python interpreter of a measurement, and its environment variables.

    Exported files of all contenders run in the same Python with the same variables.
    """
    if measurement.part in FORMS:
        python, variables = sys.executable, environment(shell, own=False)
    else:
        installed = measurement.installed
        python = installed.python
        variables = environment(shell, installed.own_environment)
        variables = dict(installed.contender.variables) | variables
    threads = {"OMP_NUM_THREADS": str(measurement.settings.threads)}
    return python, variables | threads | REGIMES[measurement.regime]


def outcome(result: dict) -> str:
    """Returns the result of a measurement in a few words."""
    if result["status"] == FAILED:
        return result["reason"]
    facts, part = result["facts"], result["part"]
    if part == EXPORT:
        return "written"
    if part in BATCHED:
        return f"{result['settings']['batch_size'] / facts['step_seconds']:.1f} images/s"
    return f"{1000 * facts['step_seconds']:.1f} ms"


def network(variant: str) -> dict:
    """Returns the description of a network for workers, which do not import this project.

    Returns:
        Dict: "key", timm's name; "classes"; lists "depths", "widths" and "group_widths" of the
        stages; "group_width" before it was capped; "se_ratio"; "plain", whether the network has
        the activation, normalization and stem of the paper.
    """
    config = get_config(variant)
    return {
        "key": variant,
        "classes": _CLASSES,
        "depths": [stage.depth for stage in config.stages],
        "widths": [stage.width for stage in config.stages],
        "group_widths": [stage.group_width for stage in config.stages],
        "group_width": config.group_width,
        "se_ratio": config.se_ratio,
        "plain": (config.activation, config.normalization) == ("relu", "batch"),
    }
