"""The parts of a recipe. Each part explains and checks its own fields."""

import dataclasses
import numbers

from regnet_tf import Preprocessing, RegNetConfig
from regnet_tf._checks import check, check_choice, check_int, check_number
from regnet_tf.decoders import DECODERS
from regnet_tf.preprocessing import IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS

from ..augmentation import CROPS, ERASING_MODES, check_policy

PRECISIONS = ("float32", "mixed_bfloat16")
OPTIMIZERS = ("sgd", "rmsprop")
SCHEDULES = ("cosine", "cosine_after_warmup", "steps")
UNDECAYED = ("none", "normalization", "vectors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The data set of a recipe. See `training.data.load`.

    Args:
        name: name or folder of a data set.
        classes: names of the classes to keep; None for all classes of the data set.
        images_per_class: number of training images to keep of each class; None for all.
    """

    name: str
    classes: tuple[str, ...] | None = None
    images_per_class: int | None = None

    def __post_init__(self):
        check("data.name", self.name, isinstance(self.name, str), "a text")
        ok = self.classes is None or _are_classes(self.classes)
        check("data.classes", self.classes, ok, "None or two or more names")
        _check_optional_int("data.images_per_class", self.images_per_class)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """The RegNet of a recipe.

    Args:
        config: the configuration. `Recipe.replace` and the command line also take any name that
            `regnet_tf.get_config` accepts.
        synchronized: whether batch normalization computes its statistics over all replicas.
        precision: dtype policy, one of `PRECISIONS`.
    """

    config: RegNetConfig
    synchronized: bool = False
    precision: str = "float32"

    def __post_init__(self):
        known_type = isinstance(self.config, RegNetConfig)
        check("network.config", self.config, known_type, "a RegNetConfig, see `get_config`")
        _check_bool("network.synchronized", self.synchronized)
        check_choice("network.precision", self.precision, PRECISIONS)


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
        check_choice("decoder.name", self.name, tuple(DECODERS))
        check_int("decoder.width", self.width, minimum=1)
        check_int("decoder.finest_level", self.finest_level, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Size and normalization of images. See `regnet_tf.Preprocessing`.

    Args:
        size: side of the square training images, in pixels.
        test_size: side of the square test images, in pixels; None for `size`.
        crop_fraction: share of the shorter side to crop in tests.
        interpolation: interpolation in training crops and in tests.
        mean: mean of each channel, from 0 to 1, to subtract from every image.
        std: standard deviation of each channel, to divide every image by.
    """

    size: int
    test_size: int | None = None
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self):
        check_int("images.size", self.size, minimum=1)
        _check_optional_int("images.test_size", self.test_size)
        side = self.test_size or self.size
        check_number("images.crop_fraction", self.crop_fraction, above=0)
        ok = self.crop_fraction <= side  # or nothing is left of the shorter side
        check("images.crop_fraction", self.crop_fraction, ok, f"at most {side}")
        check_choice("images.interpolation", self.interpolation, INTERPOLATIONS)
        _check_channels("images.mean", self.mean)
        _check_channels("images.std", self.std, above=0)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for tests."""
        return Preprocessing(
            image_size=self.test_size or self.size,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """The network's input shape; height and width are None if the test image size differs."""
        side = self.size if self.test_size in (None, self.size) else None
        return side, side, 3


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
        translation: largest random shift, as a share of the image's side.
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
        check_choice("augmentation.crop", self.crop, CROPS)
        area = self.crop_area
        ok = isinstance(area, tuple) and len(area) == 2
        ok = ok and all(isinstance(share, numbers.Real) for share in area)
        ok = ok and 0 < area[0] <= area[1] <= 1
        allowed = "the least and the largest share, above 0, at most 1"
        check("augmentation.crop_area", area, ok, allowed)
        _check_bool("augmentation.flip", self.flip)
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
        batch_size: images per step over all replicas. Training drops an incomplete last batch.
        learning_rate: learning rate of the first epoch without warm-up.
        learning_rate_batch: batch size for which `learning_rate` is given. The learning rate is
            scaled in proportion to `batch_size`. None for no scaling.
        kind: how the learning rate falls, one of `SCHEDULES`.
        decay_epochs: for the kind "steps": epochs between two decays.
        decay_rate: for the kind "steps": factor of each decay.
        warmup_epochs: number of warm-up epochs; 0 for none.
        warmup_factor: factor of the learning rate in the first epoch of the warm-up.
        max_steps: number of batches after which each pass over the training or test images ends,
            for trying things out; None for whole passes.
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

    def __post_init__(self):
        check_int("schedule.epochs", self.epochs, minimum=1)
        check_int("schedule.batch_size", self.batch_size, minimum=1)
        check_number("schedule.learning_rate", self.learning_rate, above=0)
        _check_optional_int("schedule.learning_rate_batch", self.learning_rate_batch)
        check_choice("schedule.kind", self.kind, SCHEDULES)
        for field in ("decay_epochs", "decay_rate"):
            name, value = f"schedule.{field}", getattr(self, field)
            if self.kind == "steps":
                check(name, value, value is not None, "given where `schedule.kind` is steps")
                check_number(name, value, above=0)
            else:
                check(name, value, value is None, "None unless `schedule.kind` is steps")
        check_int("schedule.warmup_epochs", self.warmup_epochs, minimum=0)
        check_number("schedule.warmup_factor", self.warmup_factor, above=0)
        _check_optional_int("schedule.max_steps", self.max_steps)

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
        momentum: momentum, at least 0 and below 1.
        nesterov: whether to use Nesterov momentum.
        weight_decay: L2 factor, added to the gradient as `weight_decay * variable`.
        undecayed: which parameters have no weight decay, one of `UNDECAYED`.
    """

    name: str
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-5
    undecayed: str = "none"

    def __post_init__(self):
        check_choice("optimizer.name", self.name, OPTIMIZERS)
        check_number("optimizer.momentum", self.momentum, minimum=0, below=1)
        _check_bool("optimizer.nesterov", self.nesterov)
        pointless = self.nesterov and not self.momentum
        allowed = "False where `optimizer.momentum` is 0"
        check("optimizer.nesterov", self.nesterov, not pointless, allowed)
        check_number("optimizer.weight_decay", self.weight_decay, minimum=0)
        check_choice("optimizer.undecayed", self.undecayed, UNDECAYED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """The cross-entropy that training minimizes.

    Args:
        label_smoothing: probability to spread evenly over all classes.
    """

    label_smoothing: float = 0.0

    def __post_init__(self):
        check_number("loss.label_smoothing", self.label_smoothing, minimum=0, below=1)


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
        check_number("average.decay", self.decay, above=0, below=1)
        check_int("average.steps", self.steps, minimum=1)
        check_int("average.warmup_epochs", self.warmup_epochs, minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The training of the initial weights. See `training.recipes.pretraining_recipe`.

    A classifier with it is compared with one trained from scratch, see `training.loop.finetuning`.

    Args:
        recipe: name of the recipe that trains the initial weights.
        freeze: last frozen layer, counted from the input: "stem", "stage_1" ... None to freeze
            nothing.
    """

    recipe: str
    freeze: str | None = None

    def __post_init__(self):
        is_name = isinstance(self.recipe, str)
        check("pretraining.recipe", self.recipe, is_name, "the name of a recipe")
        is_name = self.freeze is None or isinstance(self.freeze, str)
        check("pretraining.freeze", self.freeze, is_name, "None or the name of a layer")


def _are_classes(classes):
    """Returns whether this is a tuple of two or more different names."""
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


def _check_bool(name, value):
    check(name, value, isinstance(value, bool), "True or False")


def _check_optional_int(name, value):
    if value is not None:
        check_int(name, value, minimum=1)


def _check_channels(name, values, above=None):
    """Raises ValueError unless there is a number for each of three channels."""
    ok = isinstance(values, tuple) and len(values) == 3
    check(name, values, ok, "three numbers, for R, G and B")
    for value in values:
        check_number(name, value, above=above)
