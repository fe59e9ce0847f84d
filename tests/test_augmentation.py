"""Random changes of training images against Pillow, torchvision, timm, formulas and statistics."""

import importlib.util
import io
import itertools
import math
import pathlib
import random

import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import Preprocessing
from regnet_tf._torch import import_timm
from regnet_tf.preprocessing import decode_image, load_image
from training.augmentation import (
    batch_augmentation,
    check_policy,
    cutmix,
    geometry,
    image_augmentation,
    lighting,
    mix,
    mixup,
    operations,
    policies,
    rand_augment,
    random_affine,
    random_erasing,
    random_flip,
    random_resized_crop,
    trivial_augment_wide,
    whole_image,
)
from training.augmentation.branches import case
from training.augmentation.crop import crop_box, resize
from training.recipes.parts import Augmentation, Images

GOLDEN = pathlib.Path(__file__).parent / "golden" / "preprocess"
JPEG = (GOLDEN / "rocket.jpg").read_bytes()
PNG = (GOLDEN / "chelsea.png").read_bytes()
#: A part of a photograph that is not square, as a square one hides mistakes.
PHOTO = load_image(GOLDEN / "chelsea.png")[80:200, 100:196]
FILL = (124.0, 116.0, 104.0)


def image_augment(size=64, interpolation="bilinear", **changes):
    """The augmentation of one image; nothing random by default."""
    images = Images(size=size, interpolation=interpolation)
    return image_augmentation(Augmentation(**changes), images)


PAPER = {"crop": "random_resized", "flip": True, "lighting": 0.1, "interpolation": "pycls"}
TORCHVISION = {
    "crop": "random_resized",
    "flip": True,
    "policy": "trivial_augment_wide",
    "erasing": 0.5,
}
TIMM = {**TORCHVISION, "policy": "rand-m9-mstd0.5-inc1", "erasing_mode": "pixel"}


def seed_of(number):
    return tf.stack([tf.constant(7, tf.int64), tf.cast(number, tf.int64)])


def many(draw, count=2000):
    """What a function makes of many seeds, as numpy arrays."""
    draw = tf.autograph.experimental.do_not_convert(draw)  # half of the time, otherwise
    draws = tf.data.Dataset.range(count).map(lambda n: draw(seed_of(n)), num_parallel_calls=2)
    return tf.nest.map_structure(lambda x: x.numpy(), draws.batch(count).get_single_element())


def levels(tensor):
    return np.asarray(tensor).astype("int")


@pytest.fixture(scope="module")
def stats():
    return pytest.importorskip("scipy.stats")


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def timm():
    pytest.importorskip("torch")
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return import_timm()[1]


@pytest.fixture(scope="module")
def torchvision(timm):
    """Its classic transforms; they come with timm, beside which they can always be imported."""
    import torch
    import torchvision.transforms

    torch.manual_seed(0)
    return torchvision.transforms


# Keras' layers.


def test_no_augmentation_changes_nothing():
    images = tf.random.stateless_uniform((4, 16, 16, 1), seed=(0, 1))
    np.testing.assert_array_equal(random_affine(0, 0, 0, seed=3)(images, 0), images)


@pytest.mark.parametrize("field", ["translation", "rotation", "zoom"])
def test_augmentation_moves_pixels_by_seed_and_number_alone(field):
    images = np.zeros((8, 16, 16, 3), "float32")
    images[:, 4:9, 5:12] = 1  # off the centre, and with an odd shape

    def augmented(seed, first=0):
        ranges = {"translation": 0, "rotation": 0, "zoom": 0}
        ranges[field] = 20 if field == "rotation" else 0.2
        augment = random_affine(**ranges, seed=seed)
        numbers = tf.data.Dataset.range(first, 2)
        batches = numbers.map(lambda number: augment(images, number), num_parallel_calls=2)
        return np.stack(list(batches))

    result = augmented(seed=0)
    assert result.shape == (2, *images.shape) and result.min() >= 0 and result.max() <= 1
    assert (result[0] != images).any() and (result[0] != result[1]).any()
    assert (result[0, 0] != result[0, 1]).any()  # each image its own change
    np.testing.assert_array_equal(result, augmented(seed=0))
    np.testing.assert_array_equal(result[1:], augmented(seed=0, first=1))
    assert (result != augmented(seed=1)).any()


def test_images_are_shifted_by_whole_pixels():
    images = np.random.default_rng(0).uniform(size=(16, 20, 20, 1)).astype("float32")
    shifted = np.asarray(random_affine(0.1, 0, 0, seed=0)(tf.constant(images), 0))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    every = [padded[:, y : y + 20, x : x + 20] for y in range(5) for x in range(5)]
    chosen = np.array([(shifted == moved).all((1, 2, 3)) for moved in every])
    assert (chosen.sum(0) == 1).all() and chosen.any(1).sum() > 4


# Branches.


@pytest.mark.parametrize("graph", [False, True])
def test_case_computes_one_branch_only(graph):
    calls = []

    def branch(name):
        def run(x):
            tf.py_function(lambda: calls.append(name), [], [])
            return x + name

        return run

    def chosen(index, x):
        return case(index, [branch(0), branch(1), branch(2)], x)

    chosen = tf.function(chosen, autograph=False) if graph else chosen
    assert chosen(tf.constant(1), tf.constant(5)) == 6 and calls == [1]
    assert chosen(tf.constant(2), tf.constant(5)) == 7 and calls == [1, 2]
    assert case(tf.constant(True), [tf.negative, tf.identity], tf.constant(5)) == 5


def test_case_knows_the_shape():
    x = tf.zeros((2, 3))
    found = tf.data.Dataset.range(2).map(lambda n: case(n, [tf.identity, tf.negative], x))
    assert found.element_spec == tf.TensorSpec((2, 3), tf.float32)


# Crops.


def boxes(shape, count=2000, **options):
    return many(lambda seed: tf.stack(crop_box(tf.constant(shape), seed, **options)), count).T


def test_areas_and_places_of_crops_are_uniform(stats):
    top, left, height, width = boxes((1000, 1200), area=(0.2, 0.6), ratio=(1.0, 1.0))
    np.testing.assert_array_equal(height, width)
    shares = height * width / 1.2e6
    assert stats.kstest(shares, stats.uniform(0.2, 0.4).cdf).pvalue > 1e-3
    for start, free in ((top, 1001 - height), (left, 1201 - width)):
        assert stats.kstest((start + 0.5) / free, "uniform").pvalue > 1e-3


def test_shapes_of_crops_are_log_uniform(stats):
    _, _, height, width = boxes((4000, 3000), area=(0.1, 0.2), ratio=(0.5, 2.0))
    shapes = np.log2(width / height)
    assert stats.kstest(shapes, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(shapes, height * width).statistic) < 0.05


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (60, 200)])
def test_crops_are_distributed_as_torchvisions(torchvision, stats, shape):
    import torch

    ours, image = boxes(shape), torch.zeros(3, *shape)
    crop = torchvision.RandomResizedCrop
    theirs = np.array([crop.get_params(image, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(2000)]).T
    for name, value in {
        "top": lambda top, left, height, width: top,
        "left": lambda top, left, height, width: left,
        "area": lambda top, left, height, width: height * width,
        "ratio": lambda top, left, height, width: width / height,
        "free": lambda top, left, height, width: left / np.maximum(shape[1] - width, 1),
    }.items():
        assert stats.ks_2samp(value(*ours), value(*theirs)).pvalue > 1e-3, name


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((10, 1000), (0, 493, 10, 13)),
        ((1000, 10), (493, 0, 13, 10)),
        ((1, 50), (0, 24, 1, 1)),
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_crops_of_extreme_shapes_come_from_the_middle(shape, box):
    assert (boxes(shape, count=50).T == box).all()


def test_crops_of_few_pixels_stay_inside():
    for shape in itertools.product((1, 2, 4), (1, 3)):
        top, left, height, width = boxes(shape, count=100)
        assert min(top.min(), left.min()) >= 0 and min(height.min(), width.min()) >= 1
        assert (top + height <= shape[0]).all() and (left + width <= shape[1]).all()


def test_image_of_one_pixel():
    image = tf.constant([[[10, 20, 30]]], tf.uint8)
    for interpolation in ("bilinear", "bicubic", "pycls"):
        result = random_resized_crop(image, seed_of(0), 8, interpolation=interpolation)
        np.testing.assert_allclose(result, np.tile(image, (8, 8, 1)), atol=1e-4)


@pytest.fixture(scope="module")
def files(pillow):
    """The same photograph in files of several kinds."""
    photo = pillow.fromarray(decode_image(JPEG).numpy()[:203, :301])

    def encoded(image, kind, **options):
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return {
        "jpeg": encoded(photo, "JPEG", quality=90),  # half as many colors either way
        "jpeg 4:4:4": encoded(photo, "JPEG", subsampling=0),
        "progressive": encoded(photo, "JPEG", progressive=True),
        "gray jpeg": encoded(photo.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(photo.convert("CMYK"), "JPEG"),
        "png": encoded(photo, "PNG"),
        "gray png": encoded(photo.convert("L"), "PNG"),
    }


KINDS = ("jpeg", "jpeg 4:4:4", "progressive", "gray jpeg", "cmyk jpeg", "png", "gray png")


@pytest.fixture(scope="module")
def crop_both():
    """Crops of a file and of its pixels with a seed; traced once, for all kinds of files."""

    @tf.function(autograph=False)
    def crop(file, pixels, seed):
        return random_resized_crop(file, seed, 32), random_resized_crop(pixels, seed, 32)

    return crop


@pytest.mark.parametrize("kind", KINDS)
def test_crop_of_a_file_is_that_of_its_pixels(files, crop_both, kind):
    file, pixels = tf.constant(files[kind]), decode_image(files[kind])
    for number in range(30):
        of_file, of_pixels = crop_both(file, pixels, seed_of(number))
        np.testing.assert_array_equal(of_file, of_pixels)
    np.testing.assert_array_equal(whole_image(file, 32), whole_image(pixels, 32))


@pytest.fixture(scope="module")
def turned(pillow):
    """A JPEG that is to be turned by a quarter, and its pixels after that, by Pillow."""
    from PIL import ImageOps

    file, image = io.BytesIO(), pillow.fromarray(PHOTO)
    exif = pillow.Exif()
    exif[0x0112] = 6
    image.save(file, "JPEG", exif=exif)
    upright = ImageOps.exif_transpose(pillow.open(io.BytesIO(file.getvalue())))
    return file.getvalue(), np.array(upright)


def test_crops_of_turned_files(turned):
    content, upright = turned
    file = tf.constant(content)
    for number in range(5):
        crop = random_resized_crop(file, seed_of(number), 32, exif_orientation=True)
        np.testing.assert_array_equal(crop, random_resized_crop(upright, seed_of(number), 32))
    whole = whole_image(file, 32, exif_orientation=True)
    np.testing.assert_array_equal(whole, whole_image(upright, 32))
    assert (whole_image(file, 32) != whole).numpy().any()


@pytest.mark.parametrize("channels, mode", [(1, "L"), (4, "RGBA")])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_crops_of_gray_and_transparent_files(pillow, channels, mode, kind):
    """Pixels are Pillow's."""
    file, image = io.BytesIO(), pillow.fromarray(PHOTO)
    if kind == "PNG":
        image.putalpha(pillow.fromarray(PHOTO[..., 0]))
    image.save(file, kind)
    pixels = np.array(pillow.open(io.BytesIO(file.getvalue())).convert(mode))
    pixels = pixels.reshape(*PHOTO.shape[:2], channels)
    if mode == "L":  # transparency is dropped first
        rgb = pillow.open(io.BytesIO(file.getvalue())).convert("RGB")
        pixels = np.array(rgb.convert("L"))[..., None]
    content = tf.constant(file.getvalue())
    for number in range(5):
        crop = random_resized_crop(content, seed_of(number), 32, channels=channels)
        assert crop.shape == (32, 32, channels)
        expected = random_resized_crop(pixels, seed_of(number), 32, channels=channels)
        np.testing.assert_array_equal(crop, expected)
    augment = image_augmentation(
        Augmentation(crop="random_resized", flip=True, erasing=0.5),
        Images(size=24, channels=channels),
    )
    prepared = augment(content, seed_of(1))
    assert prepared.shape == (24, 24, channels) and np.isfinite(prepared).all()
    np.testing.assert_array_equal(prepared, augment(pixels, seed_of(1)))


def test_crop_is_the_resized_box():
    shape = tf.constant(PHOTO.shape[:2])
    top, left, height, width = (int(x) for x in crop_box(shape, seed_of(1)))
    part = PHOTO[top : top + height, left : left + width]
    for interpolation in ("bilinear", "bicubic", "pycls"):
        result = random_resized_crop(
            tf.constant(PHOTO), seed_of(1), 32, (0.08, 1.0), interpolation=interpolation
        )
        np.testing.assert_array_equal(result, resize(part, 32, interpolation))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [16, 50, 100, 128])
def test_resize_is_pillows_within_a_level(pillow, interpolation, size):
    method = getattr(pillow.Resampling, interpolation.upper())
    expected = pillow.fromarray(PHOTO).resize((size, size), method)
    result = resize(PHOTO, size, interpolation).numpy()
    assert result.dtype == "float32" and result.min() >= 0 and result.max() <= 255
    assert np.abs(result - levels(expected)).max() < 1.5  # Pillow rounds twice


def test_resize_as_pycls():
    preprocessing = Preprocessing(image_size=40, resize_size=40, interpolation="pycls")
    square = PHOTO[:96]
    expected = preprocessing.resize_and_crop(square)
    np.testing.assert_allclose(resize(square, 40, "pycls"), expected, atol=1e-3)


def test_unknown_interpolation():
    with pytest.raises(ValueError, match="`interpolation` must be one of"):
        resize(PHOTO, 8, "nearest")


def test_flip():
    flipped = many(lambda seed: random_flip(PHOTO, seed), count=400)
    mirrored = (flipped == PHOTO[:, ::-1]).all((1, 2, 3))
    assert (mirrored | (flipped == PHOTO).all((1, 2, 3))).all()
    assert 160 < mirrored.sum() < 240


# Light.


def test_lighting_shifts_along_the_principal_components():
    image = tf.constant(PHOTO[:4, :5], tf.float32)
    shifts = many(lambda seed: lighting(image, seed, 0.1) - image, count=2000)
    assert np.ptp(shifts, (1, 2)).max() < 1e-3  # all pixels alike
    values = np.array([0.2175, 0.0188, 0.0045])
    vectors = np.array(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    weights = shifts[:, 0, 0] / 255 @ vectors / values
    np.testing.assert_allclose(np.cov(weights.T), 0.01 * np.eye(3), atol=1e-3)
    np.testing.assert_allclose(weights.mean(0), 0, atol=0.01)
    np.testing.assert_array_equal(lighting(image, seed_of(0), 0.0), image)


# Single operations.


@pytest.fixture(scope="module")
def enhance(pillow):
    from PIL import ImageEnhance

    return ImageEnhance


@pytest.fixture(scope="module")
def image_ops(pillow):
    from PIL import ImageOps

    return ImageOps


def dark():
    """With levels that do not reach 0 or 255, and one channel of a single level."""
    image = PHOTO // 3 + 20
    image[..., 1] = 7
    return image


IMAGES = {"photo": PHOTO, "dark": dark(), "black": np.zeros_like(PHOTO), "small": PHOTO[:3, :4]}


@pytest.mark.parametrize("factor", [0.01, 0.1, 0.37, 0.9, 1.0, 1.5, 1.9, 1.99])
@pytest.mark.parametrize("name", ["brightness", "color", "contrast", "sharpness"])
def test_enhancement_is_pillows(enhance, pillow, name, factor):
    for image in IMAGES.values():
        expected = getattr(enhance, name.capitalize())(pillow.fromarray(image)).enhance(factor)
        np.testing.assert_array_equal(
            getattr(operations, name)(tf.constant(image), factor), expected
        )


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "invert"])
@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_histogram_operations_are_pillows(image_ops, pillow, name, image):
    expected = getattr(image_ops, name)(pillow.fromarray(image))
    np.testing.assert_array_equal(getattr(operations, name)(tf.constant(image)), expected)


def test_posterize_and_solarize_are_pillows(image_ops, pillow):
    image, photo = tf.constant(PHOTO), pillow.fromarray(PHOTO)
    for bits in range(1, 9):
        expected = image_ops.posterize(photo, bits)
        np.testing.assert_array_equal(operations.posterize(image, bits), expected)
    assert not operations.posterize(image, 0).numpy().any()
    for threshold in (0, 1, 76.5, 128, 255, 256):
        expected = image_ops.solarize(photo, threshold)
        np.testing.assert_array_equal(operations.solarize(image, threshold), expected)


def test_solarize_add():
    for addition in (0, 1, 99, 128):
        expected = np.where(PHOTO < 128, np.minimum(PHOTO.astype("int") + addition, 255), PHOTO)
        np.testing.assert_array_equal(operations.solarize_add(PHOTO, addition), expected)


def assert_moved_alike(result, expected):
    """Within a level; but where a pixel comes from exactly the edge, rounding decides."""
    difference = np.abs(levels(result) - levels(expected))
    assert np.mean(difference > 0) < 0.06 and np.mean(difference > 1) < 0.006


def affine(pillow, *matrix):
    photo = pillow.fromarray(PHOTO)
    fill = tuple(int(level) for level in FILL)
    options = {"resample": pillow.Resampling.BILINEAR, "fillcolor": fill}
    return photo.transform(photo.size, pillow.Transform.AFFINE, matrix, **options)


@pytest.mark.parametrize("factor", [0.0, 0.03, -0.27, 0.3, -0.99])
def test_shears_are_pillows(pillow, factor):
    result = geometry.shear_x(PHOTO, factor, FILL)
    assert_moved_alike(result, affine(pillow, 1, factor, 0, 0, 1, 0))
    result = geometry.shear_y(PHOTO, factor, FILL)
    assert_moved_alike(result, affine(pillow, 1, 0, 0, factor, 1, 0))


@pytest.mark.parametrize("pixels", [0, 1, -7, 32, 10.5, -43.2, 200])
def test_shifts_are_pillows(pillow, pixels):
    result = geometry.translate_x(PHOTO, pixels, FILL)
    assert_moved_alike(result, affine(pillow, 1, 0, -pixels, 0, 1, 0))
    result = geometry.translate_y(PHOTO, pixels, FILL)
    assert_moved_alike(result, affine(pillow, 1, 0, 0, 0, 1, -pixels))


@pytest.mark.parametrize("degrees", [0, 1, 13.7, -27, 30, 45, 90, -90, 135, 180])
def test_rotation_is_pillows(pillow, degrees):
    fill = tuple(int(level) for level in FILL)
    expected = pillow.fromarray(PHOTO).rotate(degrees, pillow.Resampling.BILINEAR, fillcolor=fill)
    assert_moved_alike(geometry.rotate(PHOTO, degrees, FILL), expected)


def test_what_was_outside_is_filled():
    moved = geometry.translate_x(PHOTO, 5, FILL).numpy()
    assert (moved[:, :5] == FILL).all()
    np.testing.assert_array_equal(moved[:, 5:], PHOTO[:, :-5])
    moved = geometry.translate_y(PHOTO, -5.0, FILL).numpy()
    assert (moved[-5:] == FILL).all()
    np.testing.assert_array_equal(moved[:-5], PHOTO[5:])
    assert (geometry.rotate(PHOTO, 45, FILL).numpy()[0, 0] == FILL).all()


@pytest.mark.parametrize("name", list(policies.TRIVIAL_AUGMENT_WIDE))
def test_trivial_augment_is_torchvisions(torchvision, pillow, name):
    from torchvision.transforms import autoaugment

    space = torchvision.TrivialAugmentWide()._augmentation_space(31)
    names = {key.lower(): key for key in space}
    assert list(names) == [key.replace("_", "") for key in policies.TRIVIAL_AUGMENT_WIDE]
    name_there = names[name.replace("_", "")]
    magnitudes, signed = space[name_there]
    bilinear, photo = torchvision.InterpolationMode.BILINEAR, pillow.fromarray(PHOTO)
    for place, sign in itertools.product((0, 7, 16, 30), (1, -1)):
        magnitude = float(magnitudes[place]) if magnitudes.ndim else 0.0
        magnitude *= sign if signed else 1
        expected = autoaugment._apply_op(photo, name_there, magnitude, bilinear, None)
        level = tf.constant(place / 30, tf.float32)
        change = policies.TRIVIAL_AUGMENT_WIDE[name]
        assert_moved_alike(change(tf.constant(PHOTO), level, sign * level, (0, 0, 0)), expected)


TIMMS_NAMES = {
    "solarize_add": "SolarizeAdd",
    "autocontrast": "AutoContrast",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}


@pytest.mark.parametrize("name", list(policies.RAND_AUGMENT)[1:])
@pytest.mark.parametrize("increasing", [False, True])
def test_rand_augment_is_timms(timm, pillow, monkeypatch, name, increasing):
    from timm.data import auto_augment

    table = policies.RAND_AUGMENT_INCREASING if increasing else policies.RAND_AUGMENT
    known = auto_augment.rand_augment_choices("", increasing)
    assert len(known) == len(table) - 1
    name_there = TIMMS_NAMES.get(name, name.capitalize())
    increasing_there = f"{name_there}Increasing"
    name_there = increasing_there if increasing_there in known else name_there
    assert name_there in known
    options = {"img_mean": (124, 116, 104), "interpolation": pillow.Resampling.BILINEAR}
    for magnitude, sign in itertools.product((2.6, 7, 9.4), (1, -1)):
        # Above 0.5 stands for the negative one there.
        monkeypatch.setattr(auto_augment.random, "random", lambda sign=sign: 0.5 - 0.4 * sign)
        there = auto_augment.AugmentOp(name_there, 1.0, magnitude, options)
        expected = there(pillow.fromarray(PHOTO))
        if name.startswith("translate"):
            sign = -sign  # timm moves images the other way, of two that are equally frequent
        level = tf.constant(magnitude / 10, tf.float32)
        assert_moved_alike(table[name](tf.constant(PHOTO), level, sign * level, FILL), expected)


# Policies.


def rand_augment_spec(**changes):
    """timm's defaults, changed."""
    defaults = {"magnitude": 10, "std": 0, "count": 2, "probability": 0.5, "increasing": False}
    return policies.RandAugment(**{**defaults, **changes})


def test_check_policy():
    assert check_policy(None) is None
    assert check_policy("trivial_augment_wide") == "trivial_augment_wide"
    spec = check_policy("rand-m9-mstd0.5-inc1")
    assert spec == rand_augment_spec(magnitude=9, std=0.5, increasing=True)
    assert check_policy("rand-inc0-n3-p0.7") == rand_augment_spec(count=3, probability=0.7)
    assert check_policy("rand") == rand_augment_spec()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rand-",
        "rand-9",
        "rand-m9-inc2",
        "rand-m11-inc1",
        "rand-m9-m9-inc1",
        "rand-mx-inc1",
        "rand-m9-inc1-",
        "rand-m9-n0-inc1",
        "rand-p1.5-inc1",
        "rand-m9-w0-inc1",
        "v0-inc1",
        "augmix-m3",
        "TrivialAugmentWide",
        7,
    ],
)
def test_check_policy_errors(text):
    with pytest.raises(ValueError, match="`policy` must be None, 'trivial_augment_wide', or like"):
        check_policy(text)


def test_draws_of_rand_augment(stats):
    spec = rand_augment_spec(magnitude=9, std=0.5, count=12000)
    index, level, signed = (x.numpy() for x in policies.draw_rand_augment(seed_of(0), spec))
    counts = np.bincount(index, minlength=16)
    assert len(counts) == len(policies.RAND_AUGMENT)
    assert stats.chisquare(counts, 12000 * np.array([0.5, *[1 / 30] * 15])).pvalue > 1e-3
    magnitudes = 10 * level[level < 1]
    assert np.mean(level == 1) == pytest.approx(stats.norm.sf(2), abs=0.005)  # 10 and more
    below = stats.truncnorm(-18, 2, 9, 0.5)
    assert stats.kstest(magnitudes, below.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(np.abs(signed), level)
    assert np.mean(signed > 0) == pytest.approx(0.5, abs=0.02)


def test_draws_of_rand_augment_without_noise():
    spec = rand_augment_spec(magnitude=7, count=100, probability=1.0)
    index, level, _ = policies.draw_rand_augment(seed_of(0), spec)
    assert (index.numpy() > 0).all()
    np.testing.assert_allclose(level, 0.7)


def test_draws_of_trivial_augment(stats):
    index, level, signed = many(policies.draw_trivial_augment)
    counts = np.bincount(index)
    assert len(counts) == len(policies.TRIVIAL_AUGMENT_WIDE)
    assert stats.chisquare(counts).pvalue > 1e-3
    values, counts = np.unique(level, return_counts=True)
    np.testing.assert_allclose(values, np.arange(31) / 30, atol=1e-6)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert np.mean(signed[level > 0] > 0) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("rand-m9-mstd0.5-n3", policies.RAND_AUGMENT),
        ("rand-m9-mstd0.5-n3-inc1", policies.RAND_AUGMENT_INCREASING),
    ],
)
def test_rand_augment_does_what_it_draws(text, table):
    spec, changes = check_policy(text), list(table.values())
    for number in range(6):
        expected = image = tf.constant(PHOTO)
        draws = policies.draw_rand_augment(seed_of(number), spec)
        for index, level, signed in zip(*map(tf.unstack, draws), strict=True):
            expected = changes[index](expected, level, signed, FILL)
        np.testing.assert_array_equal(rand_augment(image, seed_of(number), spec, FILL), expected)


def test_trivial_augment_does_what_it_draws():
    image, changes = tf.constant(PHOTO), list(policies.TRIVIAL_AUGMENT_WIDE.values())
    for number in range(6):
        index, level, signed = policies.draw_trivial_augment(seed_of(number))
        expected = changes[index](image, level, signed, (0, 0, 0))
        np.testing.assert_array_equal(trivial_augment_wide(image, seed_of(number)), expected)


# Erasing.


def erased_boxes(mode, shape=(90, 110, 3), count=2000):
    """`(heights, widths, tops, lefts)` of the boxes, each in an image of ones."""
    ones = tf.ones(shape)
    changed = many(
        lambda seed: tf.reduce_any(random_erasing(ones, seed, 1.0, mode) != 1, -1), count
    )
    rows, columns = changed.any(2), changed.any(1)
    sizes = rows.sum(1), columns.sum(1)
    np.testing.assert_array_equal(changed.sum((1, 2)), sizes[0] * sizes[1])  # a whole box
    return (*sizes, rows.argmax(1), columns.argmax(1))


def test_a_graph_of_it_warns_of_nothing(caplog):
    augment, image = image_augment(erasing=0.5), tf.TensorSpec(PHOTO.shape, tf.uint8)
    tf.function(augment).get_concrete_function(image, tf.TensorSpec([2], tf.int64))
    assert not caplog.messages


@pytest.mark.parametrize(("mode", "most"), [("zero", 0.33), ("pixel", 1 / 3)])
def test_areas_and_places_of_erased_boxes(stats, mode, most):
    height, width, top, left = erased_boxes(mode, (200, 200, 1))
    # Long boxes of large area do not fit; up to a quarter of the image all do.
    shares = height * width / 200**2
    small = shares[shares < 0.25]
    assert stats.kstest(small, stats.uniform(0.02, 0.23).cdf).pvalue > 1e-3
    assert shares.max() == pytest.approx(most, abs=0.01)
    for start, free in ((top, 201 - height), (left, 201 - width)):
        assert stats.kstest((start + 0.5) / free, "uniform").pvalue > 1e-3


def test_erased_boxes_are_distributed_as_torchvisions(torchvision, stats):
    import torch

    image = torch.ones(3, 90, 110)
    erasing = torchvision.RandomErasing
    theirs = [erasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(2000)]
    top, left, height, width = np.array(theirs).T
    for ours, there in zip(erased_boxes("zero"), (height, width, top, left), strict=True):
        assert stats.ks_2samp(ours, there).pvalue > 1e-3


def test_erased_boxes_are_distributed_as_timms(timm, stats):
    import torch
    from timm.data.random_erasing import RandomErasing

    random.seed(0)
    erasing = RandomErasing(1.0, mode="const", device="cpu")
    changed = np.stack([erasing(torch.ones(1, 90, 110))[0] == 0 for _ in range(2000)])
    rows, columns = changed.any(2), changed.any(1)
    theirs = rows.sum(1), columns.sum(1), rows.argmax(1), columns.argmax(1)
    for ours, there in zip(erased_boxes("pixel"), theirs, strict=True):
        assert stats.ks_2samp(ours, there).pvalue > 1e-3


def test_erasing_writes_zeros_or_noise_with_its_probability():
    image = tf.fill((60, 60, 3), 9.0)
    erased = many(lambda seed: random_erasing(image, seed, 0.3, "zero"), count=1000)
    assert set(np.unique(erased)) == {0.0, 9.0}
    assert 255 < (erased == 0).any((1, 2, 3)).sum() < 345
    erased = many(lambda seed: random_erasing(image, seed, 0.3, "pixel"), count=1000)
    assert 255 < (erased != 9).any((1, 2, 3)).sum() < 345
    noise = erased[erased != 9]
    assert noise.mean() == pytest.approx(0, abs=0.01) and noise.std() == pytest.approx(1, abs=0.01)


def test_erasing_of_tiny_images_and_unknown_modes():
    ones = tf.ones((1, 1, 3))
    np.testing.assert_array_equal(random_erasing(ones, seed_of(0), 1.0), ones)
    with pytest.raises(ValueError, match="`erasing_mode` must be one of 'zero', 'pixel'"):
        random_erasing(ones, seed_of(0), 1.0, "color")


# Mixing.


def batch(size=4, side=24):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((size, side, side + 8, 3)).astype("float32")
    return images, np.eye(size, dtype="float32")


def weight_of(labels):
    """The share of each image itself, from the labels of `batch`; and that labels are right."""
    weight = labels[0, 0]
    identity = np.eye(len(labels))
    np.testing.assert_allclose(
        labels, weight * identity + (1 - weight) * np.roll(identity, 1, 0), atol=1e-6
    )
    return weight


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_mixup(stats, alpha):
    images, labels = batch()
    weights = []
    for number in range(3):
        mixed, mixed_labels = mixup(images, labels, seed_of(number), alpha)
        weights.append(weight_of(mixed_labels.numpy()))
        expected = weights[-1] * images + (1 - weights[-1]) * np.roll(images, 1, 0)
        np.testing.assert_allclose(mixed, expected, atol=1e-5)
    assert len(set(weights)) == 3
    small = images[:, :1, :1]
    drawn = many(lambda seed: mixup(small, labels, seed, alpha)[1][0, 0])
    expected = stats.beta(alpha, alpha).rvs(2000, random_state=0)
    # Cut off, as float32 does not tell the numbers apart that are nearly 1.
    drawn, expected = (np.clip(x.astype("float64"), 1e-3, 1 - 1e-3) for x in (drawn, expected))
    assert stats.ks_2samp(drawn, expected).pvalue > 1e-3


def test_tiny_alpha_gives_numbers():
    drawn = many(lambda seed: mixup(*batch(2, 1), seed, 1e-3)[1][0, 0], count=200)
    assert np.isfinite(drawn).all() and (drawn >= 0).all() and (drawn <= 1).all()


def test_cutmix():
    images, labels = batch()
    for number in range(6):
        mixed, mixed_labels = cutmix(images, labels, seed_of(number), 1.0)
        weight, changed = weight_of(mixed_labels.numpy()), (mixed != images).numpy().any((0, 3))
        assert weight == pytest.approx(1 - changed.mean(), abs=1e-6)
        assert changed.sum() == changed.any(0).sum() * changed.any(1).sum()  # a box
        expected = np.where(changed[..., None], np.roll(images, 1, 0), images)
        np.testing.assert_array_equal(mixed, expected)


def test_cutmix_is_distributed_as_torchvisions(stats):
    images, labels = np.zeros((2, 64, 48, 1), "float32"), np.eye(2, dtype="float32")
    ours = many(lambda seed: cutmix(images, labels, seed, 1.0)[1][0, 0])
    rng = np.random.default_rng(0)

    def draw():
        """torchvision's description of it: the box' middle, half its sides, what is inside."""
        half = 0.5 * math.sqrt(1 - rng.beta(1, 1))
        sides = []
        for side in (64, 48):
            middle, reach = rng.integers(side), int(half * side)
            sides.append(min(middle + reach, side) - max(middle - reach, 0))
        return 1 - sides[0] * sides[1] / (64 * 48)

    assert stats.ks_2samp(ours, [draw() for _ in range(2000)]).pvalue > 1e-3


def test_mix_takes_either_half_of_the_time():
    images, labels = batch(3, 8)

    def is_cut(seed):
        mixed, _ = mix(images, labels, seed, 0.2, 1.0)
        # Cutmix leaves every number as it was, of one image or the other.
        return tf.reduce_all((mixed == images) | (mixed == tf.roll(images, 1, 0)))

    assert 420 < many(is_cut, count=1000).sum() < 580


def test_mix_with_one_or_none():
    images, labels = batch()
    for mixed, unmixed in zip(
        mix(images, labels, seed_of(0), 0.0, 0.0), (images, labels), strict=True
    ):
        np.testing.assert_array_equal(mixed, unmixed)
    mixed, _ = mix(images, labels, seed_of(0), 0.0, 1.0)
    assert ((mixed == images) | (mixed == np.roll(images, 1, 0))).numpy().all()
    mixed, _ = mix(images, labels, seed_of(0), 1.0, 0.0)
    assert not ((mixed == images) | (mixed == np.roll(images, 1, 0))).numpy().all()


# What recipes do.


@pytest.mark.parametrize(
    "changes", [PAPER, TORCHVISION, TIMM], ids=["paper", "torchvision", "timm"]
)
def test_image_augmentation_depends_on_the_seed_alone(changes):
    augment = image_augment(**changes)
    files = tf.data.Dataset.from_tensor_slices([JPEG, PNG]).repeat(4).enumerate()

    def images(first, parallel):
        numbered = files.skip(first).map(
            lambda number, file: augment(file, seed_of(number)), num_parallel_calls=parallel
        )
        assert numbered.element_spec == tf.TensorSpec((64, 64, 3), tf.float32)
        return np.stack(list(numbered))

    result = images(0, parallel=1)
    assert np.isfinite(result).all() and len(np.unique(result, axis=0)) == 8
    np.testing.assert_array_equal(result[3:], images(3, parallel=3))


def test_image_augmentation_without_anything_random():
    augment = image_augment()
    expected = Preprocessing().normalize(whole_image(tf.constant(JPEG), 64))
    for number in range(3):
        np.testing.assert_array_equal(augment(tf.constant(JPEG), seed_of(number)), expected)
    np.testing.assert_array_equal(augment(decode_image(JPEG), seed_of(0)), expected)


def test_image_augmentation_does_one_thing_after_the_other():
    """Each step alone changes what it should; a policy sees levels, erasing normalized pixels."""
    plain = image_augment()(PHOTO, seed_of(0)).numpy()
    flips = many(lambda seed: image_augment(flip=True)(PHOTO, seed), count=20)
    assert {(flip == plain[:, ::-1]).all() for flip in flips} == {True, False}
    light = image_augment(lighting=0.1)(PHOTO, seed_of(0)).numpy()
    assert np.ptp(light - plain, (0, 1)).max() < 1e-4 < np.abs(light - plain).min()
    erased = image_augment(erasing=np.nextafter(np.float32(1), np.float32(0)))(
        PHOTO, seed_of(0)
    ).numpy()
    changed = erased != plain
    assert changed.any() and not erased[changed].any()
    policy = image_augment(policy="trivial_augment_wide")
    unchanged = policy(PHOTO, seed_of(_number_of("identity")))
    np.testing.assert_allclose(unchanged, plain, atol=0.51 / 255 / 0.224)  # but for rounding


def _number_of(name):
    """A seed with which TrivialAugment does this, inside `image_augmentation`."""
    index = list(policies.TRIVIAL_AUGMENT_WIDE).index(name)
    for number in range(200):
        policy_seed = tf.random.split(seed_of(number), 5)[2]
        if policies.draw_trivial_augment(policy_seed)[0] == index:
            return number


def test_rand_augment_fills_with_the_mean_of_the_recipe():
    images = Images(size=64, mean=(1.0, 0.0, 0.5), std=(1.0, 1.0, 1.0))
    augment = image_augmentation(Augmentation(policy="rand-m10-p1.0-n1-inc1"), images)
    gray = tf.fill((64, 64, 3), tf.constant(77, tf.uint8))
    colors = {
        tuple(np.round(255 * (pixel + images.mean)).astype("int"))
        for image in many(lambda seed: augment(gray, seed), count=40)
        for pixel in np.unique(image.reshape(-1, 3), axis=0)
    }
    assert (255, 0, 128) in colors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "random"}, "`augmentation.crop` must be one of"),
        ({"crop_area": (0.5, 0.2)}, "`augmentation.crop_area` must be"),
        ({"policy": "v0"}, "`augmentation.policy` must be"),
        ({"erasing": 1.0}, "`augmentation.erasing` must be"),
        ({"erasing_mode": "one"}, "`augmentation.erasing_mode` must be one of"),
        ({"interpolation": "nearest"}, "`images.interpolation` must be one of"),
    ],
)
def test_image_augmentation_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        image_augment(**changes)


def test_batch_augmentation_depends_on_the_number_alone():
    images, labels = batch()
    augment = batch_augmentation(Augmentation(rotation=10.0, mixup=0.2, cutmix=1.0), seed=3)

    def batches(first, parallel):
        numbers = tf.data.Dataset.range(first, 6)
        mapped = numbers.map(lambda n: augment(images, labels, n), num_parallel_calls=parallel)
        return [np.stack(part) for part in zip(*mapped.as_numpy_iterator(), strict=True)]

    result = batches(0, parallel=1)
    assert len(np.unique(result[0], axis=0)) == len(np.unique(result[1], axis=0)) == 6
    np.testing.assert_allclose(result[1].sum(-1), 1, atol=1e-6)
    for ours, later in zip(result, batches(2, parallel=3), strict=True):
        np.testing.assert_array_equal(ours[2:], later)


def test_batch_augmentation_without_anything():
    images, labels = batch()
    mixed, mixed_labels = batch_augmentation(Augmentation(), seed=3)(images, labels, 0)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(mixed_labels, labels)
