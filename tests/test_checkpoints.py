"""Checkpoints: whole or absent, the last few and the best, on one device and on several."""

import errno

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf._errors import UserError
from training.loop.checkpoints import Checkpoints, Progress
from training.loop.optimization import make_optimizer
from training.recipes import get_recipe


@pytest.fixture
def variables():
    return {
        "kernel": keras.Variable(np.arange(6.0).reshape(2, 3)),
        "count": keras.Variable(7, dtype="int64"),
        "seed": keras.Variable([1, 2], dtype="uint32"),
    }


@pytest.fixture
def checkpoints(tmp_path, variables):
    return Checkpoints(tmp_path / "run" / "checkpoints", lambda: variables, keep=2)


def change(variables):
    for variable in variables.values():
        variable.assign(variable + keras.ops.ones_like(variable))


def values(variables):
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_round_trip(checkpoints, variables):
    progress = Progress(step=12, history=[{"epoch": 1, "loss": 0.1}], best=0.5, best_step=10)
    saved = values(variables)
    path = checkpoints.save(progress)
    assert [path] == list(checkpoints.folder.iterdir()) and path.name == "step-00000012.npz"
    change(variables)
    assert checkpoints.restore() == progress
    assert_same(values(variables), saved)


def test_nothing_to_restore_is_the_beginning(checkpoints, variables):
    before = values(variables)
    assert checkpoints.restore() == Progress()
    assert_same(values(variables), before)


def test_the_last_few_and_the_best_are_kept(checkpoints):
    checkpoints.folder.mkdir(parents=True)
    (checkpoints.folder / ".partial-step-00000009.npz").write_text("of a killed process")
    for step in range(1, 7):
        checkpoints.save(Progress(step=step, best=0.5, best_step=2))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        f"step-0000000{step}.npz" for step in (2, 5, 6)
    ]


def test_of_a_damaged_one_the_one_before_is_used(checkpoints, variables):
    checkpoints.save(Progress(step=1))
    first = values(variables)
    change(variables)
    newest = checkpoints.save(Progress(step=2))
    content = newest.read_bytes()
    middle = content.index(values(variables)["kernel"].tobytes())
    for damaged in (
        content[:-40],
        b"",
        content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    ):
        newest.write_bytes(damaged)
        said = []
        assert checkpoints.restore(said.append).step == 1
        assert len(said) == 1 and f"{newest} is damaged" in said[0]
        assert_same(values(variables), first)
        change(variables)


def test_a_full_disk_leaves_the_last_one(checkpoints, monkeypatch):
    last = checkpoints.save(Progress(step=1))
    content = last.read_bytes()

    def full(path, **_):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(
        UserError,
        match=r"00002\.npz could not be written: No space left on device\. The last .*00001.npz",
    ):
        checkpoints.save(Progress(step=2))
    assert list(checkpoints.folder.iterdir()) == [last] and last.read_bytes() == content


def test_a_folder_that_can_not_be_made(tmp_path, variables):
    (tmp_path / "run").write_text("a file")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", lambda: variables)
    with pytest.raises(UserError, match=r"npz could not be written: Not a directory\. .* is none"):
        checkpoints.save(Progress(step=1))


def test_another_network_is_refused_and_nothing_changed(checkpoints, variables, tmp_path):
    checkpoints.save(Progress(step=1))
    other = {**variables, "kernel": keras.Variable(np.zeros((3, 2)))}
    for wrong, name in ((other, "kernel"), ({"kernel": variables["kernel"]}, "count, seed")):
        before = values(wrong)
        with pytest.raises(UserError, match=f"is of another network or recipe: {name} do not fit"):
            Checkpoints(checkpoints.folder, lambda wrong=wrong: wrong).restore()
        assert_same(values(wrong), before)


def test_values_of_several_devices(two_devices, tmp_path):
    with two_devices.scope():
        statistic = keras.Variable(np.zeros(2), trainable=False)
        metric = keras.metrics.Mean()

    def on_replica():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        statistic.assign([1.0 + 2 * tf.cast(replica, tf.float32), 5.0])
        metric.update_state(tf.cast(replica, tf.float32))

    tf.function(lambda: two_devices.run(on_replica))()
    variables = {"statistic": statistic, **{v.path: v for v in metric.variables}}
    checkpoints = Checkpoints(tmp_path, lambda: variables)
    checkpoints.save(Progress(step=1))
    statistic.assign([0, 0])
    metric.reset_state()
    checkpoints.restore()
    for copy in two_devices.experimental_local_results(statistic.value):
        np.testing.assert_array_equal(copy, [2, 5])  # the mean of both
    assert float(metric.result()) == 0.5
    assert float(metric.variables[1].value.read_value()) == 2  # images that it has counted


@pytest.mark.parametrize("name", ["digits", "timm_ra"])
def test_names_do_not_depend_on_what_the_process_made_before(name):
    """Or a run that was begun in a notebook could not go on in another process."""
    one, other = (make_optimizer(get_recipe(name).optimizer, 0.1) for _ in range(2))
    assert [v.path for v in one.variables] == [v.path for v in other.variables]
    assert one.name in ("sgd", "rmsprop")
