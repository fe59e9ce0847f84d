"""Runs that are killed and go on, and runs on several devices and in several processes."""

import contextlib
import csv
import errno
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import outputs_of
from waiting import wait_for

from regnet_tf import _cpu, _locking
from regnet_tf._errors import UserError
from regnet_tf._files import read_arrays
from regnet_tf.class_names import imagenet_classes
from training import evaluate
from training.command import main
from training.data import load
from training.loop.checkpoints import Checkpoints, Progress
from training.loop.directory import FILES
from training.loop.fitting import build
from training.loop.monitoring import TensorBoardLog
from training.loop.run import Run
from training.loop.strategies import make_strategy
from training.loop.testing import Test as CountingTest
from training.loop.train import train_and_evaluate
from training.recipes import get_recipe
from training.tasks import Classification

CHANGES = {
    "schedule.epochs": 4,
    "schedule.max_steps": 5,
    "seed": 3,
    "augmentation.translation": 0.1,
    "network.synchronized": True,
}
#: Files that are written after the training, with the help of other libraries or without.
FINAL = ("model.keras", "examples.npz", "curves.png", "predictions.csv", "run.json")


def command(workdir, *arguments):
    """The arguments of `regnet train`."""
    changes = [f"--set={field}={value}" for field, value in CHANGES.items()]
    return ["--recipe", "smoke", *changes, "--out", str(workdir), *arguments]


def run_here(workdir, *arguments):
    """The command in this process, which need not start TensorFlow: status, what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main(command(workdir, *arguments))
    return status, printed.getvalue()


def start(workdir, *arguments, **environment):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *command(workdir, *arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process, status=0):
    """What a process printed, once it has ended as expected."""
    printed, _ = process.communicate(timeout=1800)
    assert process.returncode == status, printed
    return printed


def wait_for_checkpoint(workdir, step, process):
    """Until a checkpoint exists, while the process is to make it."""
    path = workdir / "checkpoints" / f"step-{step:08}.npz"
    wait_for(lambda: path.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]


def weights(workdir):
    return keras.saving.load_model(workdir / "model.keras").get_weights()


def history(workdir, columns=("epoch", "loss", "accuracy", "val_loss", "val_accuracy")):
    with (workdir / "history.csv").open() as file:
        return [[float(row[column]) for column in columns] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The directory of a run, and what a kill would have left: by the file that was written then.

    These are copies of the directory after the last checkpoint, with the file's temporary one.
    """
    workdir, left = tmp_path_factory.mktemp("runs") / "undisturbed", {}
    replace = pathlib.Path.replace

    def copying(partial, path):
        last = workdir / "checkpoints" / "step-00000020.npz"
        if last.exists() and path.name not in left:
            left[path.name] = shutil.copytree(workdir, workdir.with_name(f"at_{path.name}"))
        return replace(partial, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", copying)
        status, printed = run_here(workdir)
    assert status == 0 and "Resuming" not in printed
    return workdir, left


@pytest.fixture(scope="module")
def undisturbed(written):
    """The directory of a run that nothing has disturbed."""
    return written[0]


def assert_same_run(one, other):
    """To the last bit: weights, losses, accuracies, examples, results."""
    for ours, theirs in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history(one) == history(other)
    ours, theirs = (read_arrays(workdir / "examples.npz") for workdir in (one, other))
    for name in ours.keys() | theirs.keys():
        np.testing.assert_array_equal(ours[name], theirs[name])
    ours, theirs = (json.loads((workdir / "run.json").read_text()) for workdir in (one, other))
    assert ours["results"] == theirs["results"] and ours["selection"] == theirs["selection"]


def logs_of(workdir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(workdir / "logs"))
    logs.Reload()
    return logs


def test_logs_for_tensorboard(undisturbed):
    logs = logs_of(undisturbed)
    tags = {tag for kind in ("tensors", "images") for tag in logs.Tags()[kind]}
    wanted = {"loss", "accuracy", "val_accuracy", "learning_rate", "images_per_second"}
    assert {f"epochs/{name}" for name in (*wanted, "input_wait")} <= tags
    assert "training images" in tags and logs.Tags()["graph"]
    steps = [event.step for event in logs.Tensors("epochs/loss")]
    assert steps == [5, 10, 15, 20]


def test_run_json_says_where_it_comes_from(undisturbed):
    run = json.loads((undisturbed / "run.json").read_text())
    assert run["recipe"]["seed"] == 3 and run["versions"]["keras"] == keras.__version__
    assert run["compute"] == {
        "strategy": "none",
        "replicas": 1,
        "workers": 1,
        "device": run["compute"]["device"],
        "processor": _cpu.processor(),
        "onednn": _cpu.onednn(),
    }
    assert run["source"] is None or set(run["source"]) == {"commit", "changed"}


# Killed and begun again.


def assert_resumes(workdir, undisturbed, *arguments):
    """The same command ends as if nothing had been."""
    assert not (workdir / "run.json").exists()
    status, printed = run_here(workdir, *arguments)
    assert status == 0 and "Resuming after step" in printed
    assert_same_run(workdir, undisturbed)


def test_stopped_run_ends_as_if_nothing_had_been(undisturbed, tmp_path, monkeypatch):
    """By SIGTERM amid an epoch."""
    arguments = ("--checkpoint-steps", "1")
    save = Checkpoints.save

    def save_and_terminate(checkpoints, progress):
        path = save(checkpoints, progress)
        if progress.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_terminate)
        status, printed = run_here(tmp_path, *arguments)
    assert status == 128 + signal.SIGTERM
    assert "Stopped. Run the same command again to resume" in printed and "Traceback" not in printed
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()].count("step-00000003.npz")
    assert_resumes(tmp_path, undisturbed, *arguments)


@pytest.mark.slow
def test_killed_run_ends_as_if_nothing_had_been(undisturbed, tmp_path):
    """A process, right after an epoch. The next test begins with what a kill leaves."""
    arguments = ("--checkpoint-steps", "1")
    killed = start(tmp_path, *arguments)
    wait_for_checkpoint(tmp_path, 10, killed)
    killed.kill()
    killed.communicate()
    assert_resumes(tmp_path, undisturbed, *arguments)


@pytest.mark.parametrize(
    "name", ["history.csv", *(pytest.param(name, marks=pytest.mark.slow) for name in FINAL)]
)
def test_a_run_killed_while_a_file_is_written_loses_nothing(name, written, tmp_path):
    """The history is written right after the last checkpoint."""
    undisturbed, left = written
    workdir = shutil.copytree(left[name], tmp_path / "run")
    assert (workdir / f".partial-{name}").exists() and not (workdir / "run.json").exists()
    if name == "history.csv":
        assert len(history(workdir)) == 3
    status, printed = run_here(workdir)
    assert status == 0 and "Resuming after step 20 of 20." in printed
    assert_same_run(workdir, undisturbed)
    assert [event.step for event in logs_of(workdir).Tensors("epochs/loss")] == [5, 10, 15, 20]
    assert {path.name for path in workdir.iterdir()} == {*FILES, _locking.FILE}


# A disk that is full.


@pytest.mark.slow
def test_files_that_do_not_fit_are_named_and_the_run_is_finished_later(written, tmp_path):
    """The system takes no files above a limit: real errors of Keras' and numpy's writers."""
    resource = pytest.importorskip("resource")
    undisturbed, left = written
    workdir = shutil.copytree(left["history.csv"], tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit, name in ((70_000, "model.keras"), (200_000, "examples.npz")):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            status, printed = run_here(workdir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        error = f"regnet train: error: {workdir / name} could not be written: File too large.\n"
        assert status == 2 and printed.endswith(error) and "Traceback" not in printed
        assert not {f".partial-{name}", "run.json"} & {path.name for path in workdir.iterdir()}
    status, printed = run_here(workdir)
    assert status == 0, printed
    assert_same_run(workdir, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recipe.json", "history.csv", *FINAL])
def test_a_full_disk_at_any_file(name, written, tmp_path, monkeypatch):
    undisturbed, left = written
    workdir = shutil.copytree(left["history.csv"], tmp_path / "run")
    replace = pathlib.Path.replace

    def full(partial, path):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(partial, path)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", full)
        status, printed = run_here(workdir)
    error = f"{workdir / name} could not be written: No space left on device.\n"
    assert status == 2 and printed.endswith(f"regnet train: error: {error}")
    assert run_here(workdir)[0] == 0
    assert_same_run(workdir, undisturbed)


def test_a_full_disk_at_the_logs(tmp_path, monkeypatch):
    """TensorFlow has errors of its own. The file system says so after a path."""
    log = TensorBoardLog(tmp_path / "logs", 32, Progress(step=1), np.zeros((1, 32, 32, 3)))

    def full():
        raise tf.errors.ResourceExhaustedError(None, None, "{{node}} a; No space left\nMore")

    monkeypatch.setattr(log._writer, "flush", full)
    with pytest.raises(UserError, match=r"logs could not be written: No space left\.$"):
        log.on_epoch_end(0, {"loss": 1.0})


# Two runs in a directory.


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_second_run_touches_nothing(more, undisturbed, tmp_path):
    def state():
        return {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}

    workdir = shutil.copytree(undisturbed, tmp_path / "run")
    with _locking.writing_to(workdir):
        before = state()
        status, printed = run_here(workdir, *more)
        assert status == 2 and state() == before
    error = f"error: Another process is writing to {workdir}: process {os.getpid()} on "
    assert error in printed and printed.count("\n") == 1


def test_another_recipe_in_the_directory_is_refused(undisturbed, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    checkpoint = Checkpoints(undisturbed / "checkpoints", dict).paths()[-1]
    (tmp_path / "checkpoints" / checkpoint.name).write_bytes(checkpoint.read_bytes())
    with pytest.raises(UserError, match="is of another network or recipe"):
        train_and_evaluate(
            get_recipe("smoke", {"network.config": "regnetx_002"}), tmp_path, verbose=0
        )


# Several devices.


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory, two_devices):
    """The directory of the same run on two devices of this process."""
    workdir = tmp_path_factory.mktemp("runs") / "mirrored"
    run = train_and_evaluate(get_recipe("smoke", CHANGES), workdir, verbose=0, strategy=two_devices)
    assert run["compute"]["replicas"] == 2
    return workdir


def assert_close_run(one, other, tolerance=0.02):
    """As close as float32 allows after some steps."""
    losses, others = (np.array(history(run, ("loss", "val_loss"))) for run in (one, other))
    np.testing.assert_allclose(losses, others, rtol=tolerance)


def test_two_devices_do_what_one_does(mirrored, undisturbed):
    assert_close_run(mirrored, undisturbed)


@pytest.mark.slow
def test_first_step_on_two_devices(two_devices, tmp_path):
    recipe = get_recipe("smoke", {**CHANGES, "schedule.epochs": 1, "schedule.max_steps": 1})
    states = []
    for number, strategy in enumerate((make_strategy("none"), two_devices)):
        keras.utils.set_random_seed(0)
        (tmp_path / str(number)).mkdir()
        run = Run(recipe, load("digits"), tmp_path / str(number), strategy, verbose=0)
        run.restore()
        run.train(checkpoint_steps=1)
        states.append(run.model.get_weights())
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_every_test_image_counts_once_on_two_devices(two_devices):
    """450 images in batches of 64, of which each device has 32: a ragged end."""
    data, task = load("digits"), Classification()
    results = []
    for strategy in (make_strategy("none"), two_devices):
        recipe = get_recipe("smoke", {"schedule.max_steps": None, "schedule.batch_size": 64})
        keras.utils.set_random_seed(0)
        model = build(recipe, data, strategy=strategy)
        parts = (recipe.images, recipe.schedule)
        means, images = CountingTest(model, task.measure, data.test, *parts, strategy)()
        assert images == 450
        results.append(task.named_metrics(means))
    assert results[0] == pytest.approx(results[1], rel=1e-4)
    scores = outputs_of(model, recipe.images.preprocessing(data.test.items))
    assert results[0]["accuracy"] == pytest.approx((scores.argmax(-1) == data.test.labels).mean())


@pytest.mark.slow
def test_a_users_own_fit_on_two_devices(two_devices):
    """`test_models.py` has another one."""
    import regnet_tf

    data = load("digits")
    with two_devices.scope():
        model = regnet_tf.build_regnet(
            get_recipe("smoke").network.config, input_shape=(32, 32, 3), classes=10
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images = get_recipe("smoke").images.preprocessing(data.train.items[:32])
    history = model.fit(images, data.train.labels[:32], batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"][0])


# Several processes.


def cluster(count):
    """`TF_CONFIG` of each worker, on free ports of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]


@pytest.mark.slow
def test_two_workers_do_what_one_does_though_one_is_killed(undisturbed, tmp_path):
    arguments = ("--strategy", "multiworker", "--checkpoint-steps", "1")
    configs = cluster(2)
    workers = [start(tmp_path, *arguments, TF_CONFIG=config) for config in configs]
    wait_for_checkpoint(tmp_path, 2, workers[0])
    workers[1].kill()
    workers[1].communicate()
    assert not (tmp_path / "run.json").exists()
    workers[1] = start(tmp_path, *arguments, TF_CONFIG=configs[1])
    chief, other = (ended(worker) for worker in workers)
    assert "A worker was lost" in chief and "Resuming after step" in chief
    assert "4 on each of 2 replicas of 2 workers" in chief and "Test accuracy" in chief
    assert "Test accuracy" not in other and "epoch" not in other  # one prints
    assert_close_run(tmp_path, undisturbed)
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["compute"]["workers"], run["compute"]["replicas"]) == (2, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "needs the machines in the variable TF_CONFIG"),
        ("{", "TF_CONFIG is damaged"),
        ("[" * 200_000, "TF_CONFIG is damaged"),
        ('{"cluster": {"worker": ["a:1"]}, "task": 1}', "TF_CONFIG must name workers and a task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "below 1"),
    ],
)
def test_cluster_errors(config, message, monkeypatch):
    for name in ("TF_CONFIG", "SLURM_JOB_NODELIST", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    if config:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message):
        make_strategy("multiworker")


def test_slurm_without_workers(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[1-")
    monkeypatch.setenv("SLURM_PROCID", "none")
    with pytest.raises(UserError, match=r"^SLURM's variables name no workers: .*none"):
        make_strategy("multiworker")


def test_other_strategies():
    with pytest.raises(UserError, match="`strategy` must be one of 'none', 'mirrored'"):
        make_strategy("mirror")


def test_a_batch_must_be_shared_evenly(two_devices, tmp_path):
    with pytest.raises(UserError, match=r"`schedule\.batch_size` must be a multiple of 2"):
        train_and_evaluate(
            get_recipe("smoke", {"schedule.batch_size": 7}),
            tmp_path,
            verbose=0,
            strategy=two_devices,
        )


# ImageNet in miniature, prepared by the real builder.


def synsets():
    return [synset for synset, _ in imagenet_classes()]


@pytest.mark.slow
def test_the_papers_recipe_on_imagenet_and_its_evaluation(miniature_imagenet, tmp_path, capsys):
    data_dir = str(miniature_imagenet.data_dir)
    changes = {
        "network": get_recipe("smoke").network,
        "images.size": 64,
        "images.test_size": 64,
        "schedule.epochs": 2,
        "schedule.batch_size": 60,
        "schedule.warmup_epochs": 1,
        "precise_images": 60,
    }
    recipe = get_recipe("paper", changes)
    run = train_and_evaluate(recipe, tmp_path / "run", verbose=0, data_dir=data_dir)
    train_images = len(miniature_imagenet.train)
    counts = {"train_images": train_images, "test_images": 50}
    assert run["data"] == {
        "name": "imagenet2012",
        "target": "class",
        "class_names": synsets(),
        **counts,
    }
    assert [row[0] for row in history(tmp_path / "run")] == [1, 2]

    out = tmp_path / "evaluation"
    arguments = [str(tmp_path / "run"), "--data-dir", data_dir, "--out", str(out)]
    assert evaluate.main(arguments) == 0
    result = json.loads((out / "run" / "evaluation.json").read_text())
    assert (result["images"], result["data"]) == (50, "imagenet2012")
    assert result["accuracy"] == pytest.approx(run["results"]["accuracy"])
    assert result["preprocessing"]["interpolation"] == "pycls"
