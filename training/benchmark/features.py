"""Benchmarks feature maps: speed compared with timm's `features_only`, and memory with remat.

The loss of a training step is the mean square of all maps, so that no head adds any cost.
"""

import resource
import time
from pathlib import Path
from typing import Any

from regnet_command.workers import Worker

from regnet_tf._torch import import_timm

from .memory import most_memory

LEVELS = (2, 3, 4, 5)


def keras_features(name, setting, remat=False):
    """Returns regnet_tf's backbone as a contender: `(name, run, seconds to build)`."""
    import keras
    import tensorflow as tf

    import regnet_tf

    images = tf.constant(setting.data()[0])
    start = time.perf_counter()
    model = regnet_tf.backbone(
        setting.variant,
        outputs=LEVELS,
        output_stride=setting.output_stride,
        input_shape=(setting.image_size, setting.image_size, 3),
        dtype=setting.precision,
        remat=remat,
    )
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    optimizer.build(model.trainable_variables)
    built = time.perf_counter() - start

    @tf.function(autograph=False)
    def train():
        with tf.GradientTape() as tape:
            maps = model(images, training=True).values()
            loss = tf.add_n([tf.reduce_mean(tf.cast(one, tf.float32) ** 2) for one in maps])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function(autograph=False)
    def forward():
        return model(images, training=False)

    return name, {"train": train, "forward": forward}, built


def timm_features(setting):
    """Returns timm's network with the same maps in PyTorch: channels_last, bfloat16 autocast."""
    torch, timm = import_timm()
    images = torch.from_numpy(setting.data()[0]).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=torch.channels_last)
    start = time.perf_counter()
    model = timm.create_model(
        setting.variant,
        features_only=True,
        out_indices=[level - 1 for level in LEVELS],
        output_stride=setting.output_stride,
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)
    built = time.perf_counter() - start
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=setting.precision != "float32")

    def train():
        model.train()
        optimizer.zero_grad()
        with autocast:
            loss = sum((one.float() ** 2).mean() for one in model(images))
        loss.backward()
        optimizer.step()

    def forward():
        model.eval()
        with torch.inference_mode(), autocast:
            return model(images)

    return "timm", {"train": train, "forward": forward}, built


def peak_memory(setting: Any, remat: bool) -> dict[str, float]:
    """Measures the peak memory of training in a separate process.

    Returns:
        Dict, in MiB: "peak" of the whole process, and "step", the memory of two training steps
        beyond the libraries and the network.
    """
    worker = Worker()
    try:
        before, peak = worker.submit(_memory, setting, remat).result()
    finally:
        worker.kill()
    return {"peak": peak, "step": peak - before}


def _memory(setting, remat):
    _, run, _ = keras_features("regnet_tf", setting, remat)
    before = _resident()
    for _ in range(2):
        run["train"]()
    return before, most_memory()


def _resident():
    """Returns the current memory of the process, in MiB; its peak if the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return most_memory()
    return pages * resource.getpagesize() / 2**20
