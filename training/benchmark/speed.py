"""Images per second of a RegNet here and now, and of its peers, measured in turns."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
MODES = ("train", "forward")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One variant at one batch size, image size (pixels) and precision.

    With an `output_stride`, its feature maps are measured, without its head.
    """

    variant: str
    batch_size: int
    image_size: int
    precision: str
    output_stride: int | None = None

    def data(self):
        """Returns random images `(batch, size, size, 3)` float32 and labels `(batch,)` int32."""
        import numpy as np

        rng = np.random.default_rng(0)
        shape = (self.batch_size, self.image_size, self.image_size, 3)
        images = rng.standard_normal(shape, dtype="float32")
        return images, rng.integers(0, 1000, self.batch_size, dtype="int32")


@dataclasses.dataclass
class Contender:
    """One implementation: `run[mode]()` runs one batch; `seconds[mode]` collects its times."""

    name: str
    run: dict[str, Callable[[], object]]
    build_seconds: float
    first_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def measure(self, mode):
        """Runs one batch. The first time is kept apart, as it includes tracing and compilation."""
        start = time.perf_counter()
        self.run[mode]()
        elapsed = time.perf_counter() - start
        if mode not in self.first_seconds:
            self.first_seconds[mode] = elapsed
        else:
            self.seconds.setdefault(mode, []).append(elapsed)


def keras_contender(name, setting, modes):
    """Returns regnet_tf's network, trained by `train_on_batch` with the paper's optimizer."""
    import keras
    import tensorflow as tf

    import regnet_tf

    images, labels = (tf.constant(array) for array in setting.data())
    start = time.perf_counter()
    shape = (setting.image_size, setting.image_size, 3)
    model = regnet_tf.build_regnet(setting.variant, input_shape=shape, dtype=setting.precision)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    optimizer.build(model.trainable_variables)  # else the first step is traced twice
    built = time.perf_counter() - start
    run = {
        "train": lambda: model.train_on_batch(images, labels),
        "forward": lambda: model.predict_on_batch(images),
    }
    return Contender(name, {mode: run[mode] for mode in modes}, built)


def stock_contender(setting, modes):
    """Returns the same network with Keras' stock convolution and normalization."""
    from regnet_tf._stock import stock_layers

    contender = keras_contender("stock keras", setting, modes)

    def inside(run):
        def patched():
            with stock_layers():
                return run()

        return patched

    contender.run = {mode: inside(run) for mode, run in contender.run.items()}
    return contender


def timm_contender(setting, modes):
    """Returns timm's network of the same name in PyTorch: channels_last, autocast if mixed."""
    from regnet_tf._torch import import_timm

    torch, timm = import_timm()
    images, labels = (torch.from_numpy(array) for array in setting.data())
    start = time.perf_counter()
    model = timm.create_model(setting.variant).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)
    built = time.perf_counter() - start
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    dtype = torch.float16 if setting.precision == "mixed_float16" else torch.bfloat16
    autocast = torch.autocast("cpu", dtype, enabled=setting.precision != "float32")

    def train():
        model.train()
        optimizer.zero_grad()
        with autocast:
            loss = torch.nn.functional.cross_entropy(model(images), labels.long())
        loss.backward()
        optimizer.step()

    def forward():
        model.eval()
        with torch.inference_mode(), autocast:
            return model(images)

    run = {"train": train, "forward": forward}
    return Contender("timm", {mode: run[mode] for mode in modes}, built)


def run_setting(setting, modes, repeats, stock=False, timm=False):
    """Measures all contenders on one setting, in turns.

    Returns:
        A dict of JSON types: the setting, and for each contender the seconds to build and of the
        first step. For each mode it has the images/s (median, min, max) and the ratio of
        regnet_tf's speed to the contender's.
    """
    if setting.output_stride is None:
        contenders = _classifiers(setting, modes, stock, timm)
    else:
        contenders = _backbones(setting, modes, timm)
    for turn in range(repeats + 1):  # the first one traces
        for mode in modes:
            for contender in contenders:
                contender.measure(mode)
                doing = f"{setting.variant} {setting.precision} {contender.name} {mode}"
                print(f"\r{doing}: turn {turn} of {repeats}".ljust(78), end="", flush=True)
    print("\r".ljust(79) + "\r", end="")
    rows = [_summary(contender, contenders[0], setting) for contender in contenders]
    return {**dataclasses.asdict(setting), "contenders": rows}


def _classifiers(setting, modes, stock, timm):
    contenders = [keras_contender("regnet_tf", setting, modes)]
    if stock:
        contenders.append(stock_contender(setting, modes))
    if timm:
        contenders.append(timm_contender(setting, modes))
    return contenders


def _backbones(setting, modes, timm):
    from . import features

    made = [features.keras_features("regnet_tf", setting)]
    if "train" in modes:
        made.append(features.keras_features("regnet_tf, remat", setting, remat=True))
    if timm:
        made.append(features.timm_features(setting))
    return [
        Contender(name, {mode: run[mode] for mode in modes}, built) for name, run, built in made
    ]


def _summary(contender, ours, setting):
    row = {
        "name": contender.name,
        "build_seconds": contender.build_seconds,
        "first_step_seconds": contender.first_seconds,
    }
    for mode, seconds in contender.seconds.items():
        speeds = [setting.batch_size / second for second in seconds]
        pairs = zip(seconds, ours.seconds[mode], strict=True)
        row[mode] = {
            "images_per_second": statistics.median(speeds),
            "min": min(speeds),
            "max": max(speeds),
            "regnet_tf_is_faster_by": statistics.median(theirs / our for theirs, our in pairs),
        }
    return row


def table(results: list[dict]) -> str:
    """Returns the results as a markdown table."""
    from regnet_tf._markdown import markdown_table

    columns = ["variant", "batch", "pixels", "precision", "implementation", "training img/s"]
    columns += ["ratio", "forward img/s", "ratio", "first step s", "training memory MiB"]
    rows = []
    for result in results:
        for row in result["contenders"]:
            stride = result["output_stride"]
            variant = f"{result['variant']}{'' if stride is None else f', stride {stride}'}"
            cells = [variant, result["batch_size"], result["image_size"]]
            cells += [result["precision"], row["name"]]
            for mode in MODES:
                cells += _speed_cells(row.get(mode))
            first = row["first_step_seconds"].get("train")
            cells.append("" if first is None else f"{row['build_seconds'] + first:.1f}")
            memory = row.get("training_memory")
            cells.append("" if memory is None else f"{memory['step']:.0f}")
            rows.append(cells)
    return markdown_table(columns, rows, left=(0, 3, 4))


def _speed_cells(speed):
    if speed is None:
        return ["", ""]
    spread = f"{speed['images_per_second']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})"
    return [spread, f"{speed['regnet_tf_is_faster_by']:.2f}"]


def set_threads(threads):
    """Limits both frameworks to this many cores. Call it before any computation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
