"""Distribution strategies: one device, several devices, or several machines."""

import os
from collections.abc import Sequence

import tensorflow as tf

from regnet_tf._checks import check_choice, shown
from regnet_tf._cpu import onednn, processor
from regnet_tf._errors import UserError, first_line
from regnet_tf._files import parse_json

from ..recipes import Recipe

_ONE_DEVICE = tf.distribute.get_strategy()  # TensorFlow's default
STRATEGIES = ("none", "mirrored", "multiworker", "tpu")


def make_strategy(
    name: str = "none", devices: Sequence[str] | None = None
) -> tf.distribute.Strategy:
    """Returns a `tf.distribute.Strategy`.

    Args:
        name: "none" for one device; "mirrored" for all GPUs of this machine (or the CPU);
            "multiworker" for the machines listed by `TF_CONFIG` or SLURM; "tpu".
        devices: for "mirrored", the devices to use, such as `["CPU:0", "CPU:1"]`; all by default.

    Raises:
        UserError: if the name is unknown, or if no variable lists the machines.
    """
    try:
        check_choice("strategy", name, STRATEGIES)
    except ValueError as error:
        raise UserError(str(error)) from error
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(devices)
    if name == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_resolver())
    if name == "tpu":
        return _tpu_strategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes files and prints."""
    return _task_id(strategy) == 0


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether the strategy uses several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def describe(strategy: tf.distribute.Strategy) -> dict:
    """Returns number and kind of devices, processor and oneDNN settings, as JSON types."""
    resolver = strategy.cluster_resolver
    workers = len(resolver.cluster_spec().as_dict().get("worker", [])) if resolver else 0
    return {
        "strategy": "none" if strategy is _ONE_DEVICE else type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
        "workers": max(workers, 1),
        "device": _device(),
        "processor": processor(),
        "onednn": onednn(),
    }


def check_replicas(recipe: Recipe, strategy: tf.distribute.Strategy) -> None:
    """Raises a `UserError` if the replicas cannot share a batch of a recipe."""
    replicas, schedule = strategy.num_replicas_in_sync, recipe.schedule
    parts = schedule.accumulation
    if schedule.batch_size % (replicas * parts):
        of_parts = f" times {parts}, the number of its parts" if parts > 1 else ""
        raise UserError(
            f"`schedule.batch_size` must be a multiple of {replicas}, the number of replicas"
            f"{of_parts}. Received: schedule.batch_size={schedule.batch_size}"
        )
    # TensorFlow's replicas cannot wait for each other inside a loop.
    if replicas > 1 and parts > 1 and recipe.network.synchronized:
        raise UserError(
            "`schedule.accumulation` must be 1 where several replicas have synchronized"
            f" normalization. Received: schedule.accumulation={parts}, network.synchronized=True"
        )


def _task_id(strategy):
    if not is_multi_worker(strategy):
        return 0
    return strategy.cluster_resolver.task_id or 0


def _resolver():
    """Returns the cluster from `TF_CONFIG` if it is set, else from SLURM's variables."""
    if "TF_CONFIG" in os.environ:
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_STEP_NODELIST" in os.environ or "SLURM_JOB_NODELIST" in os.environ:
        try:
            return tf.distribute.cluster_resolver.SlurmClusterResolver()
        except (ValueError, RuntimeError, OSError) as error:  # OSError: no nvidia-smi
            raise UserError(f"SLURM's variables name no workers: {first_line(error)}") from error
    raise UserError(
        "The strategy `multiworker` needs the machines in the variable TF_CONFIG, such as"
        ' {"cluster": {"worker": ["one:5000", "two:5000"]}, "task": {"type": "worker", "index":'
        " 0}}, or a step of SLURM."
    )


def _check_tf_config(text):
    config = parse_json(text, "TF_CONFIG", "cluster", "task")
    try:
        workers, task = config["cluster"]["worker"], config["task"]
        ok = task["type"] == "worker" and 0 <= int(task["index"]) < len(workers)
        ok = ok and isinstance(workers, list) and all(isinstance(one, str) for one in workers)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"TF_CONFIG must name workers and a task. Received: {shown(text)}"
        ) from error
    if not ok:
        raise UserError(
            f"TF_CONFIG must give the task an index below {len(workers)}, of type worker."
            f" Received: {shown(task)}"
        )


def _tpu_strategy():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="")
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UserError(f"No TPU was found: {first_line(error)}") from error
    return tf.distribute.TPUStrategy(resolver)


def _device():
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
