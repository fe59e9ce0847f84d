"""A complete export: built in a temporary folder, checked, then moved into place."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from regnet_tf._checks import check_choice
from regnet_tf._decoding import CHANNELS
from regnet_tf._errors import MissingPackageError, UserError, first_line, import_optional
from regnet_tf.runtimes import open_file

from . import bounds, earlier, moving, report, serving
from .checks import Checks, measure_speed
from .descriptions import descriptions
from .examples import ENOUGH
from .formats import FORMATS, Job, Settings
from .network import Network
from .source import Source

#: Files of `serving` next to the networks' folders: path -> description.
SERVING = {f"serving/{name}": what for name, what in serving.FILES.items()}
#: Files of an export next to the folders of its formats: name -> description.
FILES = {
    "report.md": "how exact and how fast each file is",
    "report.png": "the same as a picture",
    "report.json": "the same as numbers",
    "checks.npz": "images and the Keras model's answers, for `regnet verify`",
    "manifest.json": "checksums",
}


def export(
    source: Source,
    out: Path,
    formats: Sequence[str] | None = None,
    settings: Settings | None = None,
    version: int | None = None,
    overwrite: bool = False,
    keep_going: bool = False,
    say: Callable = print,
) -> dict:
    """Writes a network in several formats, with the report and the checks of the files.

    Args:
        source: an `export.source.Source`.
        out: a `Path`: the folder to write to. A second export adds a version to `serving` and
            replaces the other files. Files of formats that it does not write stay, if they are of
            the same network.
        formats: names of `export.formats.FORMATS`; by default all but "web" whose packages are
            installed.
        settings: the `export.formats.Settings`; all precisions by default.
        version: version number of the SavedModel; by default the next one.
        overwrite: whether to replace that version if it exists, and to remove files of another
            network in formats that this export does not write.
        keep_going: whether to write the other files if one cannot be written.
        say: called with a line about each step.

    Returns:
        The content of `report.json`. Its "failed" is a dict: name of a file or format that could
        not be written -> reason.

    Raises:
        UserError: before anything is written: if the version exists, calibration images or packages
            are missing, another process exports to the folder, or the folder is not writable.
            Later: if the network cannot be converted, its run was more accurate, a file is out of
            the bounds of `export.bounds`, or the disk is full; `out` is then left as it was.
        ValueError: if a format is unknown.
    """
    settings = settings or Settings()
    failures = _Failures(keep_going, lenient=formats is None, say=say)
    chosen = _chosen(formats, settings, failures)
    import_optional("matplotlib", extra="export")
    with moving.staging(out) as folder:
        folders = {one.folder for one in chosen}
        target = earlier.version_to_write(out, source, folders, version, overwrite)
        kept = earlier.artefacts_that_stay(out, source, folders, overwrite)
        facts = _build(source, folder, target, chosen, settings, kept, failures, say)
        earlier.write_manifest(folder, out, kept)
        moving.move(folder, out, new_version=version is None)
    return facts


def written(facts: dict) -> dict[str, str]:
    """Returns the files and folders of an export: path -> description.

    Args:
        facts: the content of `report.json`.
    """
    folders = {one["path"].partition("/")[0] for one in facts["artefacts"].values()}
    found = {one.folder: one.what for one in FORMATS.values() if one.folder in folders}
    if found.pop("serving", None):
        saved_model = {facts["artefacts"]["SavedModel"]["path"]: "SavedModel"}
        found = {**saved_model, **SERVING, **found}
    return {**found, **FILES}


class _Failures(dict):
    """What could not be written: name -> reason. Without `keep_going`, the first one is raised.

    If `lenient`, files whose packages are not installed are left out; that is no failure.
    """

    def __init__(self, keep_going, lenient, say):
        super().__init__()
        self._keep_going, self._lenient, self._say = keep_going, lenient, say

    def add(self, name, error, hint=""):
        if not self._keep_going:
            raise UserError(f"{error}. {hint}") if hint else error
        self[name] = first_line(error)
        self._say(f"{name} failed: {self[name]}")

    def checked(self, name, one, check):
        """Whether a format or its file can be written: whether a check raises no `UserError`."""
        try:
            check()
        except MissingPackageError as error:
            if not self._lenient or not one.optional:
                self.add(name, error)
            else:
                self._say(f"{name} is left out: {first_line(error)}")
            return False
        except UserError as error:
            self.add(name, error)
            return False
        return True

    def tried(self, name, work):
        """Calls a function and returns its result; None if it fails with a `UserError`."""
        try:
            return work()
        except UserError as error:
            self.add(name, error)
            return None


def _chosen(names, settings, failures):
    """Returns the formats to write: those that are named, or all with a chosen precision."""
    for name in names or ():
        check_choice("format", name, tuple(FORMATS))
    if names is None:
        chosen = [one for one in FORMATS.values() if one.by_default and one.has_any(settings)]
    else:
        chosen = [one for one in FORMATS.values() if one.name in names]

    def check(one):
        one.check_precisions(settings)
        one.import_modules()

    chosen = [one for one in chosen if failures.checked(one.title, one, lambda: check(one))]  # noqa: B023
    if not chosen:
        raise UserError(f"Nothing can be written: {'; '.join(failures.values())}")
    return chosen


def _build(source, folder, version, chosen, settings, kept, failures, say):
    network = Network(source.model, is_classifier=bool(source.labels))
    checks = Checks.make(source, network)
    warnings = list(_warnings(source, network, chosen, settings))
    for warning in warnings:
        say(f"Warning: {warning}")
    lost = bounds.lost_accuracy(source.accuracy, checks)
    if lost:
        raise UserError(lost)
    job = Job(source, network, checks.images, version, settings)
    planned = _planned(job, chosen, failures)
    layers = {}
    for one in planned:
        say(f"{one.name} ...")
        layers[one.name] = failures.tried(one.name, lambda: _written(one, folder))  # noqa: B023
    made = [one for one in planned if one.name not in failures]
    say(
        f"Checks on {len(checks.images)} images ({checks.origin}) and"
        f" {len(checks.photographs)} whole photographs ..."
    )
    checks.write(folder / "checks.npz")
    compared = _compared(made, checks, folder, failures)
    if not compared:
        raise UserError(f"Nothing could be written: {'; '.join(failures.values())}")
    _complete(chosen, compared, descriptions(source, network), folder)
    quantization = {name: errors for name, errors in layers.items() if errors}
    artefacts = {**kept, **compared}
    facts = report.facts(source, version, checks, quantization, warnings, artefacts, failures)
    report.write(folder, facts)
    return facts


def _planned(job, chosen, failures):
    """Returns the `Artefact`s of the formats, which are all checked before anything is written."""
    return [
        artefact
        for one in chosen
        for artefact in one.artefacts(job)
        if failures.checked(artefact.name, one, lambda: one.check(job, artefact.precision))  # noqa: B023
    ]


def _written(artefact, folder):
    """Writes a file, or nothing if that fails; returns the errors of its layers, if any."""
    path = folder / artefact.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return artefact.write(path)
    except UserError:
        _remove(path)
        raise


def _compared(artefacts, checks, folder, failures):
    """Returns the entry of each file in `report.json`; a failure if one is out of bounds."""
    runs, compared = {}, {}
    for one in artefacts:
        path, expected = folder / one.path, checks.of(one.output)
        run = open_file(path)
        found = expected.compare(run)
        faults = bounds.faults(one.precision, found, expected)
        if faults:
            text = "; ".join(f"{path.name} {fault}" for fault in faults)
            failures.add(one.name, UserError(text), hint=_OUT_OF_BOUNDS)
            _remove(path)
            continue
        runs[one.name] = run
        compared[one.name] = {
            "path": one.path,
            "precision": one.precision,
            "output": one.output,
            "bytes": sum(file.stat().st_size for file in _files(path)),
            **found,
        }
    speeds = measure_speed(runs, checks.images)
    return {name: {**entry, **speeds[name]} for name, entry in compared.items()}


_OUT_OF_BOUNDS = (
    "Nothing was written. --precision and --format leave files out, --keep-going writes the"
    " others; int8 needs calibration images like those of the network's use."
)


def _complete(chosen, compared, texts, folder):
    """Writes the texts next to the files of the formats, and removes formats without files."""
    there = {Path(one["path"]).parts[0] for one in compared.values()}
    for one in chosen:
        place = folder / one.folder
        if one.folder not in there:
            shutil.rmtree(place, ignore_errors=True)
        elif one.has_texts:
            for name, text in texts.items():
                (place / name).write_text(text, encoding="utf-8")


def _remove(path):
    """Removes a file with others of its stem, or a folder."""
    for file in _files(path):
        file.unlink()
    if path.is_dir():
        shutil.rmtree(path)


def _files(path):
    """Returns the files in a folder, or a file and those that belong to it, such as `.bin`."""
    found = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    return [one for one in found if one.is_file()]


def _warnings(source, network, chosen, settings):
    yield from source.assumed
    if network.softmax_is_assumed:
        yield "The network's outputs are taken for logits: softmax makes probabilities of them."
    if network.channels not in CHANNELS:
        yield (
            f"No image file has {network.channels} channels, so the SavedModel takes only arrays"
            " of images and has no signature serving_default."
        )
    count = 0 if source.examples is None else len(source.examples.calibration)
    has_int8 = any("int8" in one.precisions for one in chosen) and "int8" in settings.precisions
    if has_int8 and 0 < count < ENOUGH:  # int8 without images is an error
        yield f"int8 was calibrated on {count} images; {ENOUGH} and more are better."
    if source.examples is None:
        yield "The files are checked on generated images; --calibration takes your images."
