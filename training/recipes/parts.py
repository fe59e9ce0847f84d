"""The parts of a recipe. Each part explains and checks its own fields."""

import dataclasses

from regnet_tf import Preprocessing, RegNetConfig
from regnet_tf._checks import (
    MAX_SIDE,
    MAX_WIDTH,
    check,
    check_bool,
    check_choice,
    check_int,
    check_number,
    plain,
    shown,
)
from regnet_tf.decoders import DECODERS
from regnet_tf.optimizers import UNDECAYED
from regnet_tf.preprocessing import (
    CROP_MODES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    INTERPOLATIONS,
    MAX_PIXELS,
    for_channels,
)

from ..augmentation import CROPS, ERASING_MODES, check_policy

PRECISIONS = ("float32", "mixed_bfloat16")
OPTIMIZERS = ("sgd", "sgdw", "rmsprop", "adamw")
SCHEDULES = ("cosine", "cosine_after_warmup", "steps")
LAST_BATCHES = ("fill", "drop")
LOSSES = ("cross_entropy", "binary_cross_entropy")
CLASS_WEIGHTS = (None, "balanced")
MAX_EPOCHS = 1_000_000
MAX_BATCH = 2**20
#: The value of `network.freeze` for everything before the head or the decoder.
TRUNK = "trunk"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The data set of a recipe. See `training.data.load`.

    Args:
        name: name or folder of a data set.
        classes: names of the classes to keep; None for all classes of the data set.
        images_per_class: number of training images to keep of each class; None for all.
        test_share: share of each class to hold out for tests, where a folder or table of images
            names no test images.
        held_out: share of each class of the training images to hold out and to test on instead of
            the test images, for choices that must not see these. None to test on the test images.
        split_seed: seed of these splits. It is not `seed`, so runs with several seeds are tested on
            the same images.
        skip_damaged: whether to leave out files that cannot be read, instead of an error.
    """

    name: str
    classes: tuple[str, ...] | None = None
    images_per_class: int | None = None
    test_share: float = 0.2
    held_out: float | None = None
    split_seed: int = 0
    skip_damaged: bool = False

    def __post_init__(self):
        plain(self)
        check("data.name", self.name, isinstance(self.name, str), "a text")
        ok = self.classes is None or _are_classes(self.classes)
        check("data.classes", self.classes, ok, "None or two or more names")
        _check_optional_int("data.images_per_class", self.images_per_class)
        check_number("data.test_share", self.test_share, above=0, below=1)
        if self.held_out is not None:
            check_number("data.held_out", self.held_out, above=0, below=1)
        check_int("data.split_seed", self.split_seed, minimum=0)
        check_bool("data.skip_damaged", self.skip_damaged)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """The RegNet of a recipe.

    Args:
        config: the configuration. `Recipe.replace` and the command line also take any name that
            `regnet_tf.get_config` accepts.
        synchronized: whether batch normalization computes its statistics over all replicas.
        precision: dtype policy, one of `PRECISIONS`.
        weights: where the initial weights come from: a tag of published weights, or the path of a
            weight file, a `.keras` file or a run; None for random initialization. The head is new
            unless it has the data set's classes.
        freeze: last frozen layer, counted from the input: "stem", "stage_1" ..., or "trunk" for
            everything before the head or the decoder. None to freeze nothing.
        frozen_epochs: number of epochs after which the frozen layers are trained as well, with a
            new state of the optimizer; None for never.
        dropout: dropout rate before the head.
        drop_path_rate: stochastic depth rate of the last block; None for the configuration's.
    """

    config: RegNetConfig
    synchronized: bool = False
    precision: str = "float32"
    weights: str | None = None
    freeze: str | None = None
    frozen_epochs: int | None = None
    dropout: float = 0.0
    drop_path_rate: float | None = None

    def __post_init__(self):
        plain(self)
        known_type = isinstance(self.config, RegNetConfig)
        check("network.config", self.config, known_type, "a RegNetConfig, see `get_config`")
        check_bool("network.synchronized", self.synchronized)
        check_choice("network.precision", self.precision, PRECISIONS)
        ok = self.weights is None or isinstance(self.weights, str)
        check("network.weights", self.weights, ok, "None, a tag or a path")
        stages = [f"stage_{number + 1}" for number in range(len(self.config.stages))]
        check_choice("network.freeze", self.freeze, (None, "stem", *stages, TRUNK))
        _check_optional_int("network.frozen_epochs", self.frozen_epochs)
        pointless = self.frozen_epochs is not None and self.freeze is None
        allowed = "None where `network.freeze` is None"
        check("network.frozen_epochs", self.frozen_epochs, not pointless, allowed)
        check_number("network.dropout", self.dropout, minimum=0, below=1)
        if self.drop_path_rate is not None:
            check_number("network.drop_path_rate", self.drop_path_rate, minimum=0, below=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """The decoder of a segmentation network. See `regnet_tf.segmentation_model`.

    Args:
        name: "fpn" or "unet".
        width: number of channels.
        finest_level: first feature map that it reads, with stride `2**finest_level`.
    """

    name: str
    width: int = 128
    finest_level: int = 2

    def __post_init__(self):
        plain(self)
        check_choice("decoder.name", self.name, tuple(DECODERS))
        check_int("decoder.width", self.width, minimum=1, maximum=MAX_WIDTH)
        check_int("decoder.finest_level", self.finest_level, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detector:
    """KerasHub's RetinaNet on the RegNet of a recipe.

    Args:
        finest_level: first feature map that it reads, with stride `2**finest_level`.
        coarsest_level: last feature map that it reads.
        anchor_size: side of the smallest anchor, in strides of its level.
        convolutions: number of convolutions before the outputs for boxes and classes.
    """

    finest_level: int = 3
    coarsest_level: int = 5
    anchor_size: float = 4.0
    convolutions: int = 4

    def __post_init__(self):
        plain(self)
        check_int("detector.finest_level", self.finest_level, minimum=2)
        check_int("detector.coarsest_level", self.coarsest_level, minimum=self.finest_level)
        check_number("detector.anchor_size", self.anchor_size, above=0)
        check_int("detector.convolutions", self.convolutions, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Size and normalization of images. See `regnet_tf.Preprocessing`.

    Args:
        size: side of the square training images, in pixels.
        test_size: side of the square test images, in pixels; None for `size`.
        crop_fraction: share of the shorter side to crop in tests.
        crop_mode: "center" to crop so in tests; "squash" to resize the whole image to a square.
        interpolation: interpolation in training crops and in tests.
        mean: mean of each channel, from 0 to 1, to subtract from every image.
        std: standard deviation of each channel, to divide every image by.
        channels: number of channels: 3 for RGB, 1 for gray. `mean` and `std` have one number for
            each channel, or three for R, G and B, which are adapted to other numbers of channels.
        exif_orientation: whether to turn images as their EXIF metadata says.
        max_pixels: largest number of pixels in the file of an image or a mask.
    """

    size: int
    test_size: int | None = None
    crop_fraction: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: int = 3
    exif_orientation: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        plain(self)
        check_int("images.size", self.size, minimum=1, maximum=MAX_SIDE)
        _check_optional_int("images.test_size", self.test_size, maximum=MAX_SIDE)
        side = self.test_size or self.size
        check_number("images.crop_fraction", self.crop_fraction, above=0)
        ok = self.crop_fraction <= side  # or nothing is left of the shorter side
        check("images.crop_fraction", self.crop_fraction, ok, f"at most {side}")
        check_choice("images.crop_mode", self.crop_mode, CROP_MODES)
        check_choice("images.interpolation", self.interpolation, INTERPOLATIONS)
        check_int("images.channels", self.channels, minimum=1, maximum=MAX_WIDTH)
        self._check_normalization()
        check_bool("images.exif_orientation", self.exif_orientation)
        check_int("images.max_pixels", self.max_pixels, minimum=1)

    def _check_normalization(self):
        """Raises ValueError unless there are numbers for each channel, or for R, G and B."""
        given = {"images.mean": self.mean, "images.std": self.std}
        counts = {3, self.channels}
        if any(not isinstance(one, tuple) or len(one) not in counts for one in given.values()):
            each = "" if self.channels == 3 else f", or {self.channels}, one for each channel"
            received = ", ".join(f"{name}={shown(one)}" for name, one in given.items())
            raise ValueError(
                f"`images.mean` and `images.std` must have three numbers, for R, G and B{each}."
                f" Received: images.channels={self.channels}, {received}"
            )
        for value in self.mean:
            check_number("images.mean", value)
        for value in self.std:
            check_number("images.std", value, above=0)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for tests."""
        return Preprocessing(
            image_size=self.test_size or self.size,
            crop_fraction=self.crop_fraction,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
            mean=for_channels(self.mean, self.channels),
            std=for_channels(self.std, self.channels),
            exif_orientation=self.exif_orientation,
            max_pixels=self.max_pixels,
        )

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """The network's input shape; height and width are None if the test image size differs."""
        side = self.size if self.test_size in (None, self.size) else None
        return side, side, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images. By default, images are not changed.

    See `training.augmentation`.

    Args:
        crop: "random_resized", or "whole" for the whole image.
        crop_area: smallest and largest share of the image in a random crop.
        flip: whether to mirror half of the images.
        policy: None, "trivial_augment_wide", or timm's notation such as "rand-m7-mstd0.5-inc1".
        lighting: standard deviation of AlexNet's PCA lighting.
        erasing: probability of erasing a rectangle.
        erasing_mode: "zero", or "pixel" for noise.
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none. With both mixup and CutMix, each batch gets one of
            them.
        translation: largest random shift, by whole pixels, as a share of the image's side.
        rotation: largest random rotation in either direction, in degrees.
        zoom: largest random change of scale, as a share.
    """

    crop: str = "whole"
    crop_area: tuple[float, float] = (0.08, 1.0)
    flip: bool = False
    policy: str | None = None
    lighting: float = 0.0
    erasing: float = 0.0
    erasing_mode: str = "zero"
    mixup: float = 0.0
    cutmix: float = 0.0
    translation: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0

    def __post_init__(self):
        plain(self)
        check_choice("augmentation.crop", self.crop, CROPS)
        area = self.crop_area
        allowed = "the least and the largest share, above 0, at most 1"
        ok = isinstance(area, tuple) and len(area) == 2
        check("augmentation.crop_area", area, ok, allowed)
        for share in area:
            check_number("augmentation.crop_area", share, above=0, maximum=1)
        check("augmentation.crop_area", area, area[0] <= area[1], allowed)
        check_bool("augmentation.flip", self.flip)
        check_policy(self.policy, "augmentation.policy")
        for field in ("lighting", "mixup", "cutmix", "rotation"):
            check_number(f"augmentation.{field}", getattr(self, field), minimum=0)
        for field in ("erasing", "translation", "zoom"):
            check_number(f"augmentation.{field}", getattr(self, field), minimum=0, below=1)
        check_choice("augmentation.erasing_mode", self.erasing_mode, ERASING_MODES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs, batches and learning rate. See `training.loop.optimization.learning_rate`.

    Args:
        epochs: passes over the training images.
        batch_size: images per step over all replicas.
        learning_rate: learning rate of the first epoch without warm-up.
        learning_rate_batch: batch size for which `learning_rate` is given. The learning rate is
            scaled in proportion to `batch_size`. None for no scaling.
        kind: how the learning rate falls, one of `SCHEDULES`.
        decay_epochs: for the kind "steps": epochs between two decays.
        decay_rate: for the kind "steps": factor of each decay.
        warmup_epochs: number of warm-up epochs; 0 for none.
        warmup_factor: factor of the learning rate in the first epoch of the warm-up.
        max_steps: largest number of batches in each epoch, and in each test, for trying things out;
            None for all images. It does not limit the number of epochs.
        accumulation: number of parts that a batch is trained in, one after the other, to save
            memory. The step takes the mean of their gradients.
        test_epochs: number of epochs after which the network is tested again. It is always tested
            after the last epoch.
        last_batch: an incomplete last batch of an epoch is filled with the first images of the
            epoch ("fill"), or left out ("drop"; each epoch leaves out other images).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_batch: int | None = None
    kind: str = "cosine"
    decay_epochs: float | None = None
    decay_rate: float | None = None
    warmup_epochs: int = 5
    warmup_factor: float = 0.1
    max_steps: int | None = None
    accumulation: int = 1
    test_epochs: int = 1
    last_batch: str = "fill"

    def __post_init__(self):
        plain(self)
        check_int("schedule.epochs", self.epochs, minimum=1, maximum=MAX_EPOCHS)
        check_int("schedule.batch_size", self.batch_size, minimum=1, maximum=MAX_BATCH)
        check_number("schedule.learning_rate", self.learning_rate, above=0)
        _check_optional_int("schedule.learning_rate_batch", self.learning_rate_batch)
        check_choice("schedule.kind", self.kind, SCHEDULES)
        for field, most in (("decay_epochs", MAX_EPOCHS), ("decay_rate", 1)):
            name, value = f"schedule.{field}", getattr(self, field)
            if self.kind == "steps":
                check(name, value, value is not None, "given where `schedule.kind` is steps")
                check_number(name, value, above=0, maximum=most)
            else:
                check(name, value, value is None, "None unless `schedule.kind` is steps")
        check_int("schedule.warmup_epochs", self.warmup_epochs, minimum=0, maximum=MAX_EPOCHS)
        check_number("schedule.warmup_factor", self.warmup_factor, above=0)
        _check_optional_int("schedule.max_steps", self.max_steps)
        check_int("schedule.accumulation", self.accumulation, minimum=1)
        fits = self.batch_size % self.accumulation == 0
        allowed = f"a divisor of schedule.batch_size={self.batch_size}"
        check("schedule.accumulation", self.accumulation, fits, allowed)
        check_int("schedule.test_epochs", self.test_epochs, minimum=1)
        check_choice("schedule.last_batch", self.last_batch, LAST_BATCHES)

    @property
    def scaled_learning_rate(self) -> float:
        """The learning rate of the first epoch at this batch size, without warm-up."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The optimizer and its weight decay. See `training.loop.optimization.make_optimizer`.

    Args:
        name: one of `OPTIMIZERS`.
        momentum: momentum, at least 0 and below 1; not for adamw.
        nesterov: whether to use Nesterov momentum; for sgd and sgdw.
        weight_decay: for sgd and rmsprop an L2 factor, added to the gradient as `weight_decay *
            variable`. For sgdw and adamw decoupled: each step multiplies the variable by `1 -
            learning_rate * weight_decay`.
        undecayed: which parameters have no weight decay, one of `UNDECAYED`.
        beta_1: decay of the mean gradient; for adamw.
        beta_2: decay of the mean squared gradient; for adamw.
        epsilon: added to the root of the mean squared gradient; for adamw.
        layer_decay: factor of the learning rate from each block to the one before it, as in timm;
            1 for the same learning rate everywhere.
        clip_norm: largest norm of all gradients together; longer ones are shortened. None for no
            limit.
        clip_value: largest absolute value of each gradient; None for no limit.
    """

    name: str
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-5
    undecayed: str = "none"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    layer_decay: float = 1.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self):
        plain(self)
        check_choice("optimizer.name", self.name, OPTIMIZERS)
        check_number("optimizer.momentum", self.momentum, minimum=0, below=1)
        check_bool("optimizer.nesterov", self.nesterov)
        pointless = self.nesterov and not self.momentum
        allowed = "False where `optimizer.momentum` is 0"
        check("optimizer.nesterov", self.nesterov, not pointless, allowed)
        check_number("optimizer.weight_decay", self.weight_decay, minimum=0)
        check_choice("optimizer.undecayed", self.undecayed, tuple(UNDECAYED))
        for field in ("beta_1", "beta_2"):
            check_number(f"optimizer.{field}", getattr(self, field), minimum=0, below=1)
        check_number("optimizer.epsilon", self.epsilon, above=0)
        check_number("optimizer.layer_decay", self.layer_decay, above=0, maximum=1)
        for field in ("clip_norm", "clip_value"):
            if getattr(self, field) is not None:
                check_number(f"optimizer.{field}", getattr(self, field), above=0)
        alone = self.clip_norm is None or self.clip_value is None
        allowed = "None where `optimizer.clip_norm` is given"
        check("optimizer.clip_value", self.clip_value, alone, allowed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss that training minimizes.

    Args:
        name: one of `LOSSES`. With binary cross-entropy, the network's outputs are sigmoids, one
            for each class. A data set with several classes for an image needs it.
        label_smoothing: probability to spread evenly over all classes.
        class_weights: "balanced" to weight each class by `images / (classes * images of the
            class)`, as in scikit-learn; None for no weights.
    """

    name: str = "cross_entropy"
    label_smoothing: float = 0.0
    class_weights: str | None = None

    def __post_init__(self):
        plain(self)
        check_choice("loss.name", self.name, LOSSES)
        check_choice("loss.class_weights", self.class_weights, CLASS_WEIGHTS)
        check_number("loss.label_smoothing", self.label_smoothing, minimum=0, below=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """The teacher: a trained network whose answers are learned. See `training.loop.distillation`.

    It sees every image as the network in training does, and must have the same classes.

    Args:
        teacher: a tag of published weights, the path of a run, a `.keras` file or weight file, or
            `hf://user/name`.
        temperature: divisor of the logits of both networks. Higher ones tell more about the
            classes that the teacher finds unlikely.
        weight: share of the teacher's loss, above 0; the rest is the labels' loss. 1 to learn from
            the teacher alone.
    """

    teacher: str
    temperature: float = 1.0
    weight: float = 1.0

    def __post_init__(self):
        plain(self)
        check(
            "distillation.teacher", self.teacher, isinstance(self.teacher, str), "a tag or a path"
        )
        check_number("distillation.temperature", self.temperature, above=0)
        check_number("distillation.weight", self.weight, above=0, maximum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average:
    """The exponential moving average of the network. It is tested and saved instead of the network.

    Args:
        decay: share of the average to keep at each update, above 0 and below 1.
        steps: steps between two updates.
        warmup_epochs: epochs in which each update copies the network into the average.
    """

    decay: float
    steps: int = 1
    warmup_epochs: int = 0

    def __post_init__(self):
        plain(self)
        check_number("average.decay", self.decay, above=0, below=1)
        check_int("average.steps", self.steps, minimum=1)
        check_int("average.warmup_epochs", self.warmup_epochs, minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Which epoch's network is kept, and when the run stops early.

    Args:
        metric: test metric that selects the epoch, such as "loss", "accuracy",
            "balanced_accuracy", "macro_f1" or "mean_iou"; None for the task's main metric. The
            lowest "loss" and the highest of the others are best.
        patience: number of epochs without a better one after which the run stops; None to train
            all epochs.
    """

    metric: str | None = None
    patience: int | None = None

    def __post_init__(self):
        plain(self)
        ok = self.metric is None or isinstance(self.metric, str)
        check("selection.metric", self.metric, ok, "None or the name of a test metric")
        _check_optional_int("selection.patience", self.patience)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The training of the initial weights. See `training.recipes.pretraining_recipe`.

    Args:
        recipe: name of the recipe that trains the initial weights.
    """

    recipe: str

    def __post_init__(self):
        plain(self)
        is_name = isinstance(self.recipe, str)
        check("pretraining.recipe", self.recipe, is_name, "the name of a recipe")


def _are_classes(classes):
    """Returns whether this is a tuple of two or more different names."""
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


def _check_optional_int(name, value, maximum=None):
    if value is not None:
        check_int(name, value, minimum=1, maximum=maximum)
