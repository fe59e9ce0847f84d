"""What decides the outcome of a training run (`Recipe`)."""

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
    """Everything that decides the outcome of a training run.

    Args:
        name: what the command line calls it.
        description: what it is for, its command, and the result to expect.
        data: name or folder of a data set, see `training.data.load`.
        network: a `RegNetConfig`, or any name that `regnet_tf.get_config` knows.
        decoder: for the class of every pixel, see `regnet_tf.segmentation_model`: "fpn" or "unet";
            None for the class of the whole image.
        decoder_width: its channels.
        finest_level: the first feature map that it gets, of stride `2**finest_level`.
        synchronized: whether batch normalization takes its statistics over all replicas.
        image_size: side of the square images the network is trained on, in pixels.
        test_image_size: of those it is tested on; None for the same.
        crop_fraction: part of the shorter side that tests take, see `regnet_tf.Preprocessing`.
        interpolation: as `regnet_tf.Preprocessing` has it, of tests.
        mean: of each channel, from 0 to 1, which is subtracted from every image.
        std: standard deviation of each channel, by which it is divided.
        epochs: passes over the training images.
        batch_size: images per step, of all replicas together; training drops an incomplete last
            batch.
        learning_rate: of the first epoch, were there no warm-up.
        learning_rate_batch: batch size that `learning_rate` is meant for; it grows in proportion to
            `batch_size`. None if it does not.
        schedule: how the learning rate falls, see `training.optimization.learning_rate`.
        decay_epochs: for the schedule "steps": epochs between two falls.
        decay_rate: for the schedule "steps": what is left of the learning rate after a fall.
        warmup_epochs: length of the warm-up; 0 for none.
        warmup_factor: what the learning rate is multiplied with in the first epoch of warm-up.
        optimizer: one of `OPTIMIZERS`.
        momentum: from 0 to below 1.
        nesterov: whether momentum looks ahead.
        weight_decay: L2 factor, added to the gradient as `weight_decay * variable`.
        undecayed: which parameters have no weight decay, one of `UNDECAYED`.
        label_smoothing: probability spread evenly over all classes.
        ema_decay: what is kept of the network's moving average at an update; None for no average.
            The average is what is tested and saved.
        ema_steps: steps between two updates of it.
        ema_warmup_epochs: epochs in which an update makes the average equal to the network.
        precise_images: training images over which normalization statistics are taken before each
            test, instead of their moving averages; 0 for the moving averages.
        crop: "random_resized", or "whole" for the whole image.
        crop_area: least and largest share of the image that a random crop has.
        flip: whether half of the images are mirrored.
        policy: None, "trivial_augment_wide", or timm's notation such as "rand-m7-mstd0.5-inc1".
        lighting: standard deviation of AlexNet's PCA lighting.
        erasing: probability that a rectangle is erased.
        erasing_mode: "zero", or "pixel" for noise.
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none. With mixup, each batch gets one of them.
        translation: largest random shift, as a share of the image's side.
        rotation: largest random rotation either way, in degrees.
        zoom: largest random change of scale, as a share.
        classes: names of the only classes to learn; None for all of the data set.
        images_per_class: how many training images of each class to keep; None for all.
        pretraining: name of the recipe that trains the network whose weights this one starts from;
            None to start anew. Classifiers of such recipes are compared with others that start
            anew, see `training.finetuning`.
        freeze: with `pretraining`: last layer, counted from the input, that keeps its weights:
            "stem", "stage_1" ... None for none.
        precision: one of `PRECISIONS`; what the network computes in.
        max_steps: for trying things out: batches after which each pass over the training or the
            test images ends. None for whole passes.
        seed: of weights, order, augmentation and the choice of few images; the same seed repeats a
            run.

    Raises:
        ValueError: naming the field that is out of range.
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
        self.preprocessing  # noqa: B018, which checks the rest of it
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
        """Of the network: any height and width where it is tested on others than trained on."""
        side = self.image_size if self.preprocessing.image_size == self.image_size else None
        return side, side, 3

    @property
    def scaled_learning_rate(self) -> float:
        """Of the first epoch at this batch size, were there no warm-up."""
        if self.learning_rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.learning_rate_batch

    def replace(self, **changes) -> "Recipe":
        """A copy with these fields changed.

        Raises:
            ValueError: for an unknown field or a value out of range.
        """
        for field in changes:
            check_field(field)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """The fields as JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields) -> "Recipe":
        """The recipe that `to_dict` was made of, also when JSON has made lists of its tuples.

        Raises:
            ValueError: for an unknown or missing field, or a value out of range.
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
# What moves or mixes images, and its value where it does not.
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
    """Whether this may be `Recipe.classes`."""
    if classes is None:
        return True
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        return False
    return len(set(classes)) == len(classes) >= 2


#: Every field's type.
FIELD_TYPES = typing.get_type_hints(Recipe)


def check_field(field):
    """Raises `ValueError` for a name that is no field of a recipe."""
    if field not in FIELD_TYPES:
        raise ValueError(f"A recipe has the fields {', '.join(FIELD_TYPES)}. Received: {field}")
