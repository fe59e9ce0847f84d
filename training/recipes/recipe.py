"""The hyperparameters of a training run (`Recipe`)."""

import dataclasses
import json
import typing

from regnet_tf import Preprocessing, RegNetConfig, get_config
from regnet_tf._checks import check, check_choice, check_int, check_number
from regnet_tf.decoders import DECODERS
from regnet_tf.preprocessing import IMAGENET_MEAN, IMAGENET_STD

from ..augmentation import CROPS, ERASING_MODES, check_policy

PRECISIONS = ("float32", "mixed_bfloat16")
OPTIMIZERS = ("sgd", "rmsprop")
SCHEDULES = ("cosine", "cosine_after_warmup", "steps")
UNDECAYED = ("none", "normalization", "vectors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of a training run.

    Args:
        name: name of the recipe on the command line.
        description: purpose, command and expected result.
        data: name or folder of a data set, see `training.data.load`.
        network: a `RegNetConfig`, or any name that `regnet_tf.get_config` accepts.
        decoder: "fpn" or "unet" for segmentation, see `regnet_tf.segmentation_model`; None for
            classification.
        decoder_width: number of channels of the decoder.
        finest_level: first feature map of the decoder, with stride `2**finest_level`.
        synchronized: whether batch normalization computes its statistics over all replicas.
        image_size: side of the square training images, in pixels.
        test_image_size: side of the square test images, in pixels; None for `image_size`.
        crop_fraction: share of the shorter side to crop in tests, see `regnet_tf.Preprocessing`.
        interpolation: interpolation in tests, see `regnet_tf.Preprocessing`.
        mean: mean of each channel, from 0 to 1, to subtract from every image.
        std: standard deviation of each channel, to divide every image by.
        epochs: passes over the training images.
        batch_size: images per step over all replicas. Training drops an incomplete last batch.
        learning_rate: learning rate of the first epoch without warm-up.
        learning_rate_batch: batch size for which `learning_rate` is given. The learning rate is
            scaled in proportion to `batch_size`. None for no scaling.
        schedule: learning rate schedule, see `training.loop.optimization.learning_rate`.
        decay_epochs: for the schedule "steps": epochs between two decays.
        decay_rate: for the schedule "steps": factor of each decay.
        warmup_epochs: number of warm-up epochs; 0 for none.
        warmup_factor: factor of the learning rate in the first epoch of the warm-up.
        optimizer: one of `OPTIMIZERS`.
        momentum: momentum, at least 0 and below 1.
        nesterov: whether to use Nesterov momentum.
        weight_decay: L2 factor, added to the gradient as `weight_decay * variable`.
        undecayed: which parameters have no weight decay, one of `UNDECAYED`.
        label_smoothing: probability to spread evenly over all classes.
        ema_decay: decay of the network's moving average; None for no average. With an average, it
            is tested and saved instead of the network.
        ema_steps: steps between two updates of the moving average.
        ema_warmup_epochs: epochs in which each update copies the network into the moving average.
        precise_images: number of training images for precise normalization statistics before each
            test; 0 to test with the moving averages.
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
        classes: names of the classes to keep; None for all classes of the data set.
        images_per_class: number of training images to keep of each class; None for all.
        pretraining: name of the recipe that trains the initial weights; None for random
            initialization. A classifier with `pretraining` is compared with one trained from
            scratch, see `training.loop.finetuning`.
        freeze: with `pretraining`: last frozen layer, counted from the input: "stem", "stage_1" ...
            None to freeze nothing.
        precision: dtype policy of the network, one of `PRECISIONS`.
        max_steps: number of batches after which each pass over the training or test images ends,
            for trying things out; None for whole passes.
        seed: seed of weights, order, augmentation and the choice of few images. The same seed
            repeats a run.

    Raises:
        ValueError: if a field is out of range; the message names the field.
    """

    name: str
    description: str
    data: str
    network: RegNetConfig | str
    decoder: str | None = None
    decoder_width: int = 128
    finest_level: int = 2
    image_size: int
    test_image_size: int | None = None
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_batch: int | None = None
    schedule: str = "cosine"
    decay_epochs: float | None = None
    decay_rate: float | None = None
    warmup_epochs: int = 5
    warmup_factor: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-5
    undecayed: str = "none"
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    ema_steps: int = 1
    ema_warmup_epochs: int = 0
    precise_images: int = 0
    crop: str = "whole"
    crop_area: tuple[float, ...] = (0.08, 1.0)
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
    classes: tuple[str, ...] | None = None
    images_per_class: int | None = None
    pretraining: str | None = None
    freeze: str | None = None
    synchronized: bool = False
    precision: str = "float32"
    max_steps: int | None = None
    seed: int = 0

    def __post_init__(self):
        known_type = isinstance(self.network, (RegNetConfig, str))
        check("network", self.network, known_type, "a RegNetConfig or the name of one")
        for field, minimum in _LEAST_INTEGERS.items():
            check_int(field, getattr(self, field), minimum)
        for field in ("test_image_size", "max_steps", "images_per_class", "learning_rate_batch"):
            if getattr(self, field) is not None:
                check_int(field, getattr(self, field), minimum=1)
        for field, bounds in _BOUNDS.items():
            check_number(field, getattr(self, field), **bounds)
        for field in ("nesterov", "flip", "synchronized"):
            value = getattr(self, field)
            check(field, value, isinstance(value, bool), "True or False")
        for field, allowed in _CHOICES.items():
            check_choice(field, getattr(self, field), allowed)
        self._check_decoder()
        self._check_images()
        self._check_optimization()
        self._check_fine_tuning()

    def _check_decoder(self):
        highest = len(self.config.stages)
        ok = self.finest_level <= highest
        check("finest_level", self.finest_level, ok, f"at most {highest}, for two levels")
        if self.decoder is None:
            return
        for field, without in _MOVING.items():
            value = getattr(self, field)
            allowed = f"{without} where `decoder` is given: maps of classes are not changed"
            check(field, value, value == without, allowed)

    def _check_images(self):
        least = self.config.total_stride
        for field in ("image_size", "test_image_size"):
            size = getattr(self, field)
            ok = size is None or size >= least
            check(field, size, ok, f"at least {least} pixels, the network's total stride")
        self.preprocessing  # noqa: B018, the property validates the remaining fields
        area = self.crop_area
        ok = len(area) == 2 and 0 < area[0] <= area[1] <= 1
        check("crop_area", area, ok, "the least and the largest share, above 0, at most 1")
        check("classes", self.classes, _are_classes(self.classes), "None or two or more names")
        check_policy(self.policy)

    def _check_optimization(self):
        pointless = self.nesterov and not self.momentum
        check("nesterov", self.nesterov, not pointless, "False where `momentum` is 0")
        if self.ema_decay is not None:
            check_number("ema_decay", self.ema_decay, above=0, below=1)
        self._check_schedule()

    def _check_schedule(self):
        for field in ("decay_epochs", "decay_rate"):
            value = getattr(self, field)
            if self.schedule == "steps":
                check(field, value, value is not None, "given where `schedule` is steps")
                check_number(field, value, above=0)
            else:
                check(field, value, value is None, "None unless `schedule` is steps")

    def _check_fine_tuning(self):
        is_name = self.pretraining is None or isinstance(self.pretraining, str)
        check("pretraining", self.pretraining, is_name, "None or the name of a recipe")
        stages = [f"stage_{number}" for number, _ in enumerate(self.config.stages, start=1)]
        check_choice("freeze", self.freeze, (None, "stem", *stages))
        pointless = self.freeze is not None and self.pretraining is None
        check("freeze", self.freeze, not pointless, "None where `pretraining` is None")

    @property
    def config(self) -> RegNetConfig:
        """The network's configuration."""
        return get_config(self.network) if isinstance(self.network, str) else self.network

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for tests."""
        return Preprocessing(
            image_size=self.test_image_size or self.image_size,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """The network's input shape; height and width are None if the test image size differs."""
        side = self.image_size if self.preprocessing.image_size == self.image_size else None
        return side, side, 3

    @property
    def scaled_learning_rate(self) -> float:
        """The learning rate of the first epoch at this batch size, without warm-up."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch

    def replace(self, **changes) -> "Recipe":
        """Returns a copy with these fields changed.

        Raises:
            ValueError: if a field is unknown or out of range.
        """
        for field in changes:
            check_field(field)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """Returns the fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields) -> "Recipe":
        """Returns a recipe from the result of `to_dict`. Lists from JSON become tuples.

        Raises:
            ValueError: if a field is unknown, missing or out of range.
        """
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        if isinstance(fields.get("network"), dict):
            fields["network"] = RegNetConfig.from_dict(fields["network"])
        return cls(**fields)


_CHOICES = {
    "precision": PRECISIONS,
    "decoder": (None, *DECODERS),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "undecayed": UNDECAYED,
    "crop": CROPS,
    "erasing_mode": ERASING_MODES,
}
_LEAST_INTEGERS = {
    "image_size": 1,
    "decoder_width": 1,
    "finest_level": 1,
    "epochs": 1,
    "batch_size": 1,
    "warmup_epochs": 0,
    "ema_steps": 1,
    "ema_warmup_epochs": 0,
    "precise_images": 0,
    "seed": 0,
}
# Augmentations that move or mix images, with the values that disable them.
_MOVING = {
    "crop": "whole",
    "crop_fraction": 1.0,
    "flip": False,
    "policy": None,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "translation": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
}
_BOUNDS = {
    "lighting": {"minimum": 0},
    "erasing": {"minimum": 0, "below": 1},
    "mixup": {"minimum": 0},
    "cutmix": {"minimum": 0},
    "learning_rate": {"above": 0},
    "momentum": {"minimum": 0, "below": 1},
    "weight_decay": {"minimum": 0},
    "warmup_factor": {"above": 0},
    "label_smoothing": {"minimum": 0, "below": 1},
    "translation": {"minimum": 0, "below": 1},
    "rotation": {"minimum": 0},
    "zoom": {"minimum": 0, "below": 1},
}


def _are_classes(classes):
    """Returns whether this is a valid `Recipe.classes`."""
    if classes is None:
        return True
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


#: The type of every field.
FIELD_TYPES = typing.get_type_hints(Recipe)


def check_field(field):
    """Raises `ValueError` if the name is not a field of a recipe."""
    if field not in FIELD_TYPES:
        raise ValueError(f"A recipe has the fields {', '.join(FIELD_TYPES)}. Received: {field}")
