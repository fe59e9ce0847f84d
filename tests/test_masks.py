"""Folders of images and masks, and masks that are moved with their images."""

import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_image

from regnet_tf import Preprocessing
from regnet_tf._errors import UserError
from training.augmentation import image_augmentation, random_affine, random_flip
from training.data import load
from training.data.batches import test_batches as batches_to_test
from training.data.batches import training_batches
from training.data.checking import check_files
from training.data.maps import cropped_map, decode_map
from training.loop.loading import load_for
from training.recipes import get_recipe
from training.recipes.parts import Augmentation, Images

UNSURE = 100


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image")


def blobs(height, width, classes, seed=0, side=20):
    """A map of a few large areas, uint8 `(height, width)`."""
    shape = (height // side + 1, width // side + 1)
    coarse = np.random.default_rng(seed).integers(0, classes, shape)
    return np.kron(coarse, np.ones((side, side)))[:height, :width].astype("uint8")


def colored(pixels):
    """An image made from its map: each class is a level of gray, uint8 `(height, width, 3)`."""
    return np.repeat((60 * pixels + 20)[..., None], 3, -1).astype("uint8")


def write_pair(folder, name, pixels, size=None):
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    image = colored(pixels)[: None if size is None else size]
    (folder / "images" / f"{name}.png").write_bytes(tf.io.encode_png(image).numpy())
    (folder / "masks" / f"{name}.png").write_bytes(tf.io.encode_png(pixels[..., None]).numpy())


@pytest.fixture
def garden(tmp_path):
    """Ten images of three classes."""
    for number in range(10):
        write_pair(tmp_path / "garden", str(number), blobs(40, 56, 3, number))
    return tmp_path / "garden"


SEGMENTATION = {
    "data.name": "garden",
    "images.size": 32,
    "images.crop_fraction": 0.8,
    "schedule.batch_size": 4,
    "decoder.name": "fpn",
    "augmentation.crop": "random_resized",
    "augmentation.flip": True,
    "augmentation.rotation": 10.0,
}


# Reading maps.


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("width", [16, 19])
def test_masks_are_indices(pillow, tmp_path, bits, mode, width):
    """Written by Pillow, which chooses the bits of a palette; gray ones are written here."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, (11, width)).astype("uint8")
    if mode == "P":
        image = pillow.fromarray(pixels, "P")
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype("uint8").tolist())
        image.info["transparency"] = 0
        image.save(tmp_path / "mask.png", bits=bits)
        content = (tmp_path / "mask.png").read_bytes()
    else:
        content = gray_png(pixels, bits)
    assert content[24] == bits and content[25] == (3 if mode == "P" else 0)
    np.testing.assert_array_equal(decode_map(tf.constant(content)), pixels)


def gray_png(pixels, bits):
    """A gray PNG file of fewer bits, which Pillow does not write."""
    width = -(-pixels.shape[1] * bits // 8) * 8 // bits
    padded = np.pad(pixels, ((0, 0), (0, width - pixels.shape[1])))
    digits = np.unpackbits(padded[..., None], -1)[..., 8 - bits :]
    lines = np.packbits(digits.reshape(len(pixels), -1), -1)
    data = b"".join(b"\0" + line.tobytes() for line in lines)

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + crc(name + content)

    def crc(content):
        return struct.pack(">I", zlib.crc32(content))

    header = struct.pack(">2I5B", pixels.shape[1], len(pixels), bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("shape", [(40, 56), (56, 40), (30, 30), (200, 90)])
@pytest.mark.parametrize("setting", [(32, 0.875), (24, 1.0), (33, 0.7), (40, 1.6)])
def test_maps_are_cropped_as_pillow_does(pillow, shape, setting):
    """Pillow resizes to the nearest pixel and crops, as torchvision's transforms do.

    If two pixels are equally near, Pillow's choice depends on rounding errors.
    """
    side, fraction = setting
    pixels = blobs(*shape, 5)
    preprocessing = Preprocessing(image_size=side, crop_fraction=fraction)
    ratio = preprocessing.shorter_side / min(shape)
    size = [int(length * ratio + 1e-9) for length in shape]
    resized = np.array(pillow.fromarray(pixels).resize(size[::-1], pillow.Resampling.NEAREST))
    for axis in (0, 1):
        twice = (2 * np.arange(size[axis]) + 1) * shape[axis]
        np.moveaxis(resized, axis, 0)[twice % (2 * size[axis]) == 0] = UNSURE
    edges = [max(side - length, 0) for length in size]
    padded = np.pad(resized, [(e // 2, e - e // 2) for e in edges], constant_values=255)
    top, left = (round((length - side) / 2) for length in padded.shape)
    expected = padded[top : top + side, left : left + side]
    result = cropped_map(pixels, preprocessing).numpy()
    sure = expected != UNSURE
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(result[sure], expected[sure])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "pycls"])
def test_map_and_image_are_cropped_alike(interpolation):
    """Inside of its areas, an image made from its map fits the map."""
    pixels = blobs(96, 131, 4)
    preprocessing = Preprocessing(image_size=50, crop_fraction=0.8, interpolation=interpolation)
    image = np.round(preprocessing.resize_and_crop(colored(pixels)))[..., 0]
    cropped = cropped_map(pixels, preprocessing).numpy()
    assert (np.abs(image - (60.0 * cropped + 20)) < 30).mean() > 0.95


# Loading folders.


def test_folder_of_images_and_masks(garden):
    data = load(garden)
    assert data.target == "pixels" and data.class_names == ("class 0", "class 1", "class 2")
    assert data.train is None and data.test.size == 10
    assert data.notes == (
        f"{garden} has no classes.txt: 3 classes, by the largest index in the masks.",
    )
    (garden / "classes.txt").write_text("sky\ngrass\nwall\npath\n")
    data = load(garden, test_share=0.2)
    assert data.class_names == ("sky", "grass", "wall", "path")
    assert (data.train.size, data.test.size) == (8, 2)
    assert data.notes[0].endswith("20 % of its images are held out (seed 0).")
    for split in (data.train, data.test):
        masks = [mask.decode().replace("/masks/", "/images/") for mask in split.labels]
        assert split.paths == masks


def test_folder_of_splits_with_masks(garden, tmp_path):
    for split in ("train", "validation"):
        shutil.copytree(garden, tmp_path / "photos" / split)
    (tmp_path / "photos" / "classes.txt").write_text("sky\ngrass\nwall")
    data = load(tmp_path / "photos")
    assert data.class_names == ("sky", "grass", "wall")
    assert (data.train.size, data.test.size) == (10, 10)


def test_images_without_masks(garden):
    (garden / "masks" / "3.png").rename(garden / "masks" / "33.png")
    with pytest.raises(UserError, match=r"1 of 10 images in .* have no mask .*: 3.png"):
        load(garden)
    data = load(garden, skip_damaged=True)
    assert data.test.size == 9
    assert data.notes[0].endswith("3.png. They are left out.")
    assert data.notes[1] == "1 masks have no image and are left out: 33.png."


def test_masks_of_one_class(tmp_path):
    write_pair(tmp_path, "one", 255 * blobs(16, 16, 2))
    with pytest.raises(UserError, match=r"two or more classes. Received: only 0 \(255 is"):
        load(tmp_path)


@pytest.mark.parametrize("names", ["sky", "sky\nsky", "sky\n\nwall"])
def test_names_that_can_not_be(garden, names):
    (garden / "classes.txt").write_text(names)
    with pytest.raises(UserError, match=r"classes.txt must hold 2 to 255 different names"):
        load(garden)


def test_masks_that_do_not_fit_are_found(garden):
    (garden / "classes.txt").write_text("sky\ngrass\nwall")
    write_pair(garden, "3", np.full((20, 20), 7, "uint8"))
    write_pair(garden, "4", blobs(40, 56, 3), size=39)
    write_pair(garden, "5", np.full((20, 20), 255, "uint8"))  # all ignored
    rgb = tf.io.encode_png(colored(blobs(40, 56, 3))).numpy()
    (garden / "masks" / "6.png").write_bytes(rgb)
    (garden / "images" / "7.png").write_bytes(b"no image")
    data = load(garden, test_share=0.5)
    with pytest.raises(UserError) as caught:
        check_files(data)
    text = str(caught.value)
    masks, images = garden / "masks", garden / "images"
    assert text.startswith(f"4 files of {garden} cannot be read. ")
    assert f"{masks / '3.png'}: It has the index 7; classes are 0 to 2" in text
    assert f"{masks / '4.png'}: Its size differs from that of {images / '4.png'}" in text
    assert f"{masks / '6.png'}: A map of classes must be gray or have a palette" in text
    assert (
        f"{images / '7.png'}: It is no image, or its header is damaged." in text
        and "\n" not in text
    )
    left = check_files(data, skip_damaged=True)
    assert left.train.size + left.test.size == 6


# Training.


def test_batches_of_masks(garden):
    recipe = get_recipe("smoke", {**SEGMENTATION, "data.name": str(garden)})
    data = load_for(recipe)
    images, labels = next(iter(training_batches(data.train, recipe, 3)))
    assert images.shape == (4, 32, 32, 3) and labels.shape == (4, 32, 32, 3)
    assert labels.dtype == "float32"
    known = labels.numpy().sum(-1)
    assert set(np.unique(known)) == {0, 1} and known.mean() > 0.8  # 0 where nothing is
    for images, labels in batches_to_test(data.test, recipe.images.preprocessing, 8):
        assert images.shape == (2, 32, 32, 3)
        assert labels.shape == (2, 32, 32) and labels.dtype == "int64"


@pytest.mark.parametrize("field", ["policy", "erasing", "mixup", "cutmix"])
def test_augmentation_that_masks_do_not_follow(field):
    value = "trivial_augment_wide" if field == "policy" else 0.5
    changes = {**SEGMENTATION, f"augmentation.{field}": value}
    with pytest.raises(ValueError, match=rf"`augmentation.{field}` must be .* maps of classes"):
        get_recipe("smoke", changes)


# Moving images and maps together.

#: Levels of 0 to 255 stay as they are.
AS_LEVELS = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}


def assert_fits(image, pixels, share=0.93):
    """Away from the edges of areas, which are blended, the image is that of its map."""
    image, pixels = np.asarray(image)[..., 0], np.asarray(pixels)
    known = pixels != 255
    fits = np.abs(image - (60.0 * pixels + 20)) < 30
    assert known.mean() > 0.5 and fits[known].mean() > share


@pytest.mark.parametrize("crop", ["random_resized", "whole"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_and_flips_move_the_map_with_its_image(crop, interpolation):
    pixels = blobs(90, 120, 4)
    augment = image_augmentation(
        Augmentation(crop=crop, crop_area=(0.2, 1.0), flip=True),
        Images(size=64, interpolation=interpolation, **AS_LEVELS),
    )
    seen = set()
    for number in range(12):
        image, moved = augment(colored(pixels), tf.constant([5, number], tf.int64), pixels)
        assert moved.dtype == tf.uint8 and moved.shape == (64, 64)
        assert_fits(image, moved)
        seen.add(moved.numpy().tobytes())
    assert len(seen) == (12 if crop == "random_resized" else 2)


def test_image_is_the_same_with_and_without_a_map():
    augment = image_augmentation(
        Augmentation(crop="random_resized", flip=True), Images(size=32, **AS_LEVELS)
    )
    seed = tf.constant([5, 6], tf.int64)
    photo = load_sample_image("china.jpg")
    image, _ = augment(photo, seed, np.zeros(photo.shape[:2], "uint8"))
    np.testing.assert_array_equal(image, augment(photo, seed))


@pytest.mark.parametrize("ranges", [(0.2, 0, 0), (0, 40, 0), (0, 0, 0.3), (0.1, 20, 0.2)], ids=str)
def test_shifts_rotations_and_zooms_move_the_map_with_its_image(ranges):
    pixels = np.stack([blobs(64, 64, 4, seed) for seed in range(6)])
    images = np.stack([colored(one) for one in pixels]).astype("float32")
    augment = random_affine(*ranges, seed=3)
    moved_images, moved = augment(images, 0, pixels)
    np.testing.assert_array_equal(moved_images, augment(images, 0))
    assert moved.dtype == tf.uint8 and moved.shape == pixels.shape
    assert set(np.unique(moved)) <= {0, 1, 2, 3, 255}
    nothing = moved_images.numpy()[..., 0] == 0
    assert (moved.numpy()[nothing] == 255).mean() > 0.95
    for image, one in zip(moved_images, moved, strict=True):
        assert_fits(image, one, share=0.85)
    assert (moved != pixels).numpy().any((1, 2)).all()


def test_flips_of_both_are_the_same():
    pixels = blobs(30, 40, 4)
    for number in range(8):
        seed = tf.constant([1, number], tf.int64)
        image, moved = random_flip(colored(pixels), seed), random_flip(pixels[..., None], seed)
        np.testing.assert_array_equal(image, colored(moved[..., 0].numpy()))


def test_masks_that_are_too_large(garden):
    (garden / "classes.txt").write_text("sky\ngrass\nwall")
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    mask = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")):
        mask += struct.pack(">I", len(content)) + name + content
        mask += struct.pack(">I", zlib.crc32(name + content))
    (garden / "masks" / "3.png").write_bytes(mask)
    reason = f"{garden / 'masks' / '3.png'}: It has 20000 x 10000 pixels, and `max_pixels` allows "
    with pytest.raises(UserError, match=f"{reason}89,478,485"):
        check_files(load(garden, test_share=0.5))
    (garden / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"3\.png cannot be read: It has 20000 x 10000 pixels"):
        load(garden)
    with pytest.raises(UserError, match="`max_pixels` allows 2,000"):
        load(garden, max_pixels=2000)  # masks of 40 x 56
