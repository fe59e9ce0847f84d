"""Resizing, cropping and normalization against Pillow, timm, torchvision and pycls."""

import hashlib
import io
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import _images
from regnet_tf.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    decode_image,
    load_image,
    preprocess_input,
)
from training.recipes.parts import Images

GOLDEN = pathlib.Path(__file__).parent / "golden" / "preprocess"
SPEC = json.loads((GOLDEN / "preprocess.json").read_text())
PHOTOS = [GOLDEN / "chelsea.png", GOLDEN / "rocket.jpg"]
CROPS = np.load(GOLDEN / "crops.npz")


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def smooth_image(height, width, channels=3, seed=0):
    """As photographs are: JPEG's color subsampling would drown in noise."""
    coarse = random_image(height // 8 + 2, width // 8 + 2, channels, seed=seed)
    image = tf.image.resize(coarse, (height, width), "bicubic")
    return np.clip(image.numpy(), 0, 255).astype("uint8")


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def encode(pillow):
    """Encodes a Pillow image, or an array, by Pillow."""

    def encode(image, file_format, **options):
        image = image if isinstance(image, pillow.Image) else pillow.fromarray(image)
        file = io.BytesIO()
        image.save(file, file_format, **options)
        return file.getvalue()

    return encode


# Golden crops of other projects.


def photo(name):
    """A photograph of the golden data, by how it was made there."""
    if name == "china.jpg":
        datasets = pytest.importorskip("sklearn.datasets")
        return datasets.load_sample_image(name)
    if name == "chelsea_portrait.png":
        return np.rot90(load_image(GOLDEN / "chelsea.png"))
    return load_image(GOLDEN / name)


@pytest.mark.parametrize("name", SPEC["crop_sha256"])
def test_crops_equal_those_of_timm_and_torchvision(name):
    image = photo(name)
    assert digest(image) == SPEC["photos"][name]["decoded_sha256"]
    for transform, expected in SPEC["crop_sha256"][name].items():
        crop = Preprocessing(**SPEC["transforms"][transform]).resize_and_crop(image)
        assert digest(crop.numpy()) == expected, transform


@pytest.mark.parametrize("key", [key for key in CROPS if key.endswith("/crop")])
def test_crops_equal_stored_ones(key):
    name, transform, _ = key.split("/")
    path = next(path for path in PHOTOS if path.stem == name)
    crop = Preprocessing(**SPEC["transforms"][transform]).resize_and_crop(load_image(path))
    np.testing.assert_array_equal(crop, CROPS[key])


@pytest.mark.parametrize("key", [key for key in CROPS if key.endswith("/tensor")])
def test_tensors_equal_stored_ones(key):
    name, transform, _ = key.split("/")
    path = next(path for path in PHOTOS if path.stem == name)
    tensor = Preprocessing(**SPEC["transforms"][transform])(path)
    assert tensor.dtype == tf.float32
    np.testing.assert_allclose(tensor[0, ::16, ::16], CROPS[key], atol=2e-6)


# Resizing against Pillow.


def pillow_crop(pillow, image, preprocessing):
    """torchvision's Resize and CenterCrop."""
    height, width = image.shape[:2]
    short, size = preprocessing.shorter_side, preprocessing.image_size
    resized = (int(short * width / min(height, width)), int(short * height / min(height, width)))
    method = pillow.Resampling[preprocessing.interpolation.upper()]
    image = np.asarray(pillow.fromarray(image).resize(resized, method))
    missing = [max(size - side, 0) for side in image.shape[:2]]
    image = np.pad(image, [*((n // 2, n - n // 2) for n in missing), (0, 0)])
    top, left = (round((side - size) / 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


SIZES = [
    (375, 500),
    (500, 333),
    (97, 101),
    (224, 224),  # nothing to resize
    (64, 65),
    (17, 23),  # enlarged
    (1, 1),
    (2, 3),
    (1, 40),
    (9, 300),
    (1000, 1203),
    (1024, 2048),  # a whole factor
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("contrast", ["noise", "extreme"])
def test_resizing_equals_pillow(pillow, interpolation, contrast):
    # Of zeros and 255s a cubic overshoots, and Pillow clips between its passes.
    for height, width in SIZES:
        image = random_image(height, width, 3)
        image = image if contrast == "noise" else (image > 127).astype("uint8") * 255
        for image_size, resize_size in ((96, 112), (61, 61)):
            preprocessing = Preprocessing(
                image_size=image_size, resize_size=resize_size, interpolation=interpolation
            )
            np.testing.assert_array_equal(
                preprocessing.resize_and_crop(image),
                pillow_crop(pillow, image, preprocessing),
                f"{(height, width)} to {(image_size, resize_size)}",
            )


@pytest.mark.parametrize("image_size, resize_size", [(1, 5), (40, 33), (83, 99), (7, 6)])
def test_random_sizes_equal_pillow(pillow, image_size, resize_size):
    rng = np.random.default_rng(image_size)
    for case in range(12):
        short, ratio = int(np.exp(rng.uniform(0, 6))), rng.uniform(1, 2)
        size = sorted((short, int(short * ratio)), reverse=bool(case % 2))
        image = random_image(*size, 3, seed=case)
        preprocessing = Preprocessing(
            image_size=image_size,
            resize_size=resize_size,  # some are below image_size: padded
            interpolation=("bilinear", "bicubic")[case // 2 % 2],
        )
        expected = pillow_crop(pillow, image, preprocessing)
        np.testing.assert_array_equal(
            preprocessing.resize_and_crop(image), expected, f"{size}, {preprocessing}"
        )


def test_tall_images_equal_pillow(pillow):
    """Pillow makes the rows first where there are many to lose, from version 13 on."""
    if int(pillow.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 always makes the columns first")
    preprocessing = Preprocessing(image_size=48, resize_size=50)
    for size in ((300, 100), (251, 101), (2000, 60), (70, 20), (90, 1)):
        image = (random_image(*size, 3) > 127).astype("uint8") * 255
        expected = pillow_crop(pillow, image, preprocessing)
        np.testing.assert_array_equal(preprocessing.resize_and_crop(image), expected, str(size))


def test_pycls_equals_plain_bilinear_interpolation():
    """Floats, no antialiasing, the crop's offset rounded up."""
    image = random_image(150, 113, 3)
    resized = tf.image.resize(image, (int(150 / 113 * 80), 80), antialias=False)
    top, left = (int(np.ceil((side - 65) / 2)) for side in resized.shape[:2])
    preprocessing = Preprocessing(image_size=65, resize_size=80, interpolation="pycls")
    crop = preprocessing.resize_and_crop(image)
    assert crop.dtype == tf.float32
    expected = resized[top : top + 65, left : left + 65]
    np.testing.assert_allclose(crop, expected, atol=5e-3)


# One function everywhere.


class Server(tf.Module):
    def __init__(self, preprocessing):
        super().__init__()
        self.preprocessing = preprocessing

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        return self.preprocessing(image_bytes)


@pytest.mark.parametrize(
    "interpolation", ["bicubic", "pycls", pytest.param("bilinear", marks=pytest.mark.slow)]
)
def test_eager_data_and_exported_agree_in_every_bit(tmp_path, interpolation):
    preprocessing = Preprocessing(image_size=64, interpolation=interpolation)
    paths = [str(path) for path in PHOTOS]
    contents = [path.read_bytes() for path in PHOTOS]
    expected = preprocessing(paths).numpy()
    assert expected.shape == (2, 64, 64, 3)

    dataset = tf.data.Dataset.from_tensor_slices(paths).map(preprocessing.from_file).batch(2)
    assert dataset.element_spec.shape == (None, 64, 64, 3)
    np.testing.assert_array_equal(next(iter(dataset)), expected)
    dataset = tf.data.Dataset.from_tensor_slices(contents).map(preprocessing.from_bytes).batch(2)
    np.testing.assert_array_equal(next(iter(dataset)), expected)

    tf.saved_model.save(Server(preprocessing), str(tmp_path))
    assert b"_XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()
    served = tf.saved_model.load(str(tmp_path)).serve
    np.testing.assert_array_equal(served(tf.constant(contents)), expected)
    assert served(tf.zeros([0], tf.string)).shape == (0, 64, 64, 3)


def test_every_source_gives_the_same(pillow):
    preprocessing = Preprocessing(image_size=48)
    path = PHOTOS[1]
    image = load_image(path)
    expected = preprocessing(path).numpy()
    sources = [
        str(path),
        path.read_bytes(),
        tf.constant(path.read_bytes()),
        image,
        image[None],
        tf.constant(image),
        pillow.fromarray(image),
        [path],
        (tf.constant([path.read_bytes()]),),
    ]
    for source in sources:
        np.testing.assert_array_equal(preprocessing(source), expected)
    np.testing.assert_array_equal(preprocessing(np.stack([image] * 3))[2], expected[0])
    np.testing.assert_array_equal(preprocessing([image, PHOTOS[0]])[0], expected[0])
    np.testing.assert_array_equal(preprocessing.from_file(tf.constant(str(path))), expected[0])


# Channels.


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_gray_images_are_resized_as_in_pillow(pillow, interpolation):
    preprocessing = Preprocessing(
        image_size=61, resize_size=70, interpolation=interpolation, mean=(0.5,), std=(0.25,)
    )
    for size in ((97, 131), (40, 33), (300, 200)):
        image = random_image(*size, 1)
        resized = pillow_crop(pillow, np.repeat(image, 3, axis=-1), preprocessing)[..., :1]
        np.testing.assert_array_equal(preprocessing.resize_and_crop(image), resized)
        assert resized.shape == (61, 61, 1)
        expected = (resized[None] / 255 - 0.5) / 0.25
        np.testing.assert_allclose(preprocessing(image), expected, atol=2e-6)


def test_every_channel_is_resized_by_itself():
    image = random_image(50, 70, 5)
    five = Preprocessing(image_size=32).with_channels(5)
    one = five.replace(mean=(0.4,), std=(0.3,))
    for channel in range(5):
        alone = one.resize_and_crop(image[..., channel, None])
        np.testing.assert_array_equal(five.resize_and_crop(image)[..., channel, None], alone)
    batch = five(np.stack([image, image]))
    assert batch.shape == (2, 32, 32, 5)
    levels = five.resize_and_crop(image).numpy()
    np.testing.assert_allclose(batch[1], (levels / 255 - five.mean) / five.std, atol=2e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_files_are_decoded_to_the_channels(channels, tmp_path):
    preprocessing = Preprocessing(image_size=24).with_channels(channels)
    path = str(PHOTOS[1])
    expected = preprocessing(load_image(path, channels))
    assert expected.shape == (1, 24, 24, channels)
    content = PHOTOS[1].read_bytes()
    for source in (path, content, tf.constant([content]), [path]):
        np.testing.assert_array_equal(preprocessing(source), expected)
    dataset = tf.data.Dataset.from_tensors(path).map(preprocessing.from_file).batch(1)
    assert dataset.element_spec.shape == (None, 24, 24, channels)
    np.testing.assert_array_equal(next(iter(dataset)), expected)


def test_with_channels():
    rgb = Preprocessing(mean=(0.1, 0.2, 0.6), std=(0.2, 0.3, 0.4))
    assert rgb.channels == 3 and rgb.with_channels(3) is rgb
    assert rgb.with_channels(1).mean == pytest.approx((0.3,))
    assert rgb.with_channels(1).std == pytest.approx((0.3,))
    assert rgb.with_channels(2).mean == (0.1, 0.2)
    five = rgb.with_channels(5)
    assert (five.mean, five.std) == ((0.1, 0.2, 0.6, 0.1, 0.2), (0.2, 0.3, 0.4, 0.2, 0.3))
    assert Preprocessing.from_dict(json.loads(json.dumps(five.to_dict()))) == five
    with pytest.raises(ValueError, match="`channels` must be an integer of at least 1"):
        rgb.with_channels(0)
    with pytest.raises(ValueError, match="`std` must be as many numbers as `mean` has, 2"):
        Preprocessing(mean=(0.5, 0.5))


def test_channels_of_a_recipe():
    images = Images(size=8, channels=1, mean=(0.4,), std=(0.1, 0.2, 0.6), exif_orientation=True)
    preprocessing = images.preprocessing
    assert preprocessing.mean == (0.4,) and preprocessing.std == pytest.approx((0.3,))
    assert preprocessing.exif_orientation


def test_images_of_other_channels_are_refused():
    gray = Preprocessing(mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match=r"a uint8 array of shape \(height, width, 1\)"):
        gray(random_image(8, 8, 3))
    with pytest.raises(ValueError, match="`channels` must be one of 1, 3, 4"):
        gray.with_channels(2)(PHOTOS[0])


def test_unknown_sizes_in_a_graph():
    preprocessing = Preprocessing(image_size=32)
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8)])
    def function(images):
        traces.append(0)
        return preprocessing(images)

    for shape in ((2, 40, 50, 3), (1, 7, 5, 3), (0, 9, 9, 3)):
        images = random_image(*shape)
        np.testing.assert_array_equal(function(images), preprocessing(images))
    assert len(traces) == 1


# Errors.


def test_a_file_that_is_no_image_is_named(tmp_path):
    content = PHOTOS[1].read_bytes()
    bad = {
        "text.jpg": b"These are words.",
        "empty.jpg": b"",
        "truncated.jpg": content[: len(content) // 2],
        "truncated.png": PHOTOS[0].read_bytes()[:9999],
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        for function in (load_image, Preprocessing(), Preprocessing().from_file):
            with pytest.raises(ValueError, match=f"must be a complete JPEG, PNG.*{name}"):
                function(path)
        with pytest.raises(ValueError, match="must be a complete JPEG, PNG"):
            decode_image(content)
    with pytest.raises(ValueError, match=r"text\.jpg"):
        Preprocessing()([PHOTOS[0], tmp_path / "text.jpg"])
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="cannot be read"):
        load_image(tmp_path)


def test_a_damaged_image_stops_a_graph():
    dataset = tf.data.Dataset.from_tensors(b"no image").map(Preprocessing().from_bytes)
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        next(iter(dataset))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 5, 3), "float32"),
        np.zeros((4, 5), "uint8"),
        np.zeros((4, 5, 4), "uint8"),
        np.zeros((0, 5, 3), "uint8"),
        np.zeros((1, 1, 4, 5, 3), "uint8"),
        tf.zeros((4, 5, 3), tf.int32),
        object(),
    ],
    ids=lambda images: f"{getattr(images, 'dtype', 'object')}",
)
def test_arrays_that_are_no_images(images):
    with pytest.raises(ValueError, match=r"must be RGB, a uint8 array .* Received: \w+ of shape"):
        Preprocessing()(images)


def test_normalize_wants_rgb():
    with pytest.raises(ValueError, match=r"`images` must be images of shape \(\.\.\., 3\)"):
        Preprocessing().normalize(np.zeros((4, 4, 1), "uint8"))


def test_bytes_that_are_a_name():
    with pytest.raises(ValueError, match=r"`image_bytes` must be bytes.*a str"):
        decode_image("cat.jpg")


def test_an_empty_list():
    with pytest.raises(ValueError, match="`source` must be at least one image"):
        Preprocessing()([])


# Fields.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("image_size", 224.0),
        ("crop_fraction", 0),
        ("crop_fraction", "0.9"),
        ("crop_fraction", 300),
        ("resize_size", 0),
        ("interpolation", "nearest"),
        ("mean", ()),
        ("mean", 0.5),
        ("exif_orientation", 1),
        ("std", (0.2, 0.2, 0)),
        ("std", (0.2, 0.2, float("nan"))),
    ],
)
def test_fields_out_of_range(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be .* Received: {field}="):
        Preprocessing(**{field: value})


def test_two_sizes_exclude_each_other():
    with pytest.raises(ValueError, match="`crop_fraction` must be None"):
        Preprocessing(crop_fraction=0.9, resize_size=256)


@pytest.mark.parametrize(
    ("size", "fraction", "expected"),
    [(224, None, 256), (224, 0.95, 235), (224, 0.965, 232), (288, 1.0, 288), (384, 1.0, 384)],
)
def test_shorter_side(size, fraction, expected):
    assert Preprocessing(image_size=size, crop_fraction=fraction).shorter_side == expected


def test_dict_round_trip():
    preprocessing = Preprocessing(image_size=32, resize_size=36, mean=[0, 0.5, 1])
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    for fields, message in (([1], "must be a dict"), ({"size": 1}, "Received: size")):
        with pytest.raises(ValueError, match=message):
            Preprocessing.from_dict(fields)
    assert preprocessing.replace(image_size=30).shorter_side == 36
    assert preprocessing.replace(crop_fraction=0.5).replace(resize_size=36) == preprocessing
    assert hash(preprocessing) == hash(preprocessing.replace())
    with pytest.raises(ValueError, match=r"fields image_size.*Received: size"):
        preprocessing.replace(size=3)


# Inputs of models that take arrays.


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_preprocess_input(dtype):
    images = random_image(2, 5, 6, 3).astype(dtype)
    expected = ((images / 255.0) - IMAGENET_MEAN) / IMAGENET_STD
    before = images.copy()
    for found in (preprocess_input(images), preprocess_input(images[0])[None]):
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected[: len(found)], atol=2e-6)
    np.testing.assert_array_equal(images, before)
    first = np.moveaxis(images, -1, 1)
    found = np.moveaxis(preprocess_input(first, data_format="channels_first"), 1, -1)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    tensor = preprocess_input(tf.constant(images))
    assert tf.is_tensor(tensor) and tensor.dtype == tf.float32
    np.testing.assert_allclose(tensor, expected, atol=2e-6)
    if dtype == "uint8":
        np.testing.assert_array_equal(Preprocessing().normalize(images), tensor)


def test_preprocess_input_in_a_model():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, preprocess_input(inputs))
    images = random_image(1, 4, 4, 3)
    np.testing.assert_allclose(model(images), preprocess_input(images), atol=1e-6)


def test_preprocess_input_of_another_shape():
    with pytest.raises(ValueError, match="`x` must be images of 3 channels, channels_last"):
        preprocess_input(np.zeros((2, 3, 8, 8)))
    with pytest.raises(ValueError, match="`data_format`"):
        preprocess_input(np.zeros((2, 8, 8, 3)), data_format="NHWC")


def test_another_backend_is_served_without_tensorflow(run_python):
    pytest.importorskip("jax", reason="Keras' numpy backend needs it")
    program = (
        "import sys, numpy, regnet_tf.class_names as c, regnet_tf.preprocessing as p;"
        "assert p.preprocess_input(numpy.ones((1, 2, 2, 3))).dtype == 'float32';"
        "assert c.decode_predictions(numpy.eye(1, 1000), top=1)[0][0][1] == 'tench';"
        "print('tensorflow' in sys.modules)"
    )
    assert run_python("-c", program, KERAS_BACKEND="numpy").strip() == "False"


@pytest.mark.parametrize(
    "interpolation", ["bicubic", "pycls", pytest.param("bilinear", marks=pytest.mark.slow)]
)
def test_strips_change_no_bit(interpolation, monkeypatch):
    """Large images are resampled in strips, so that their memory is bounded."""
    rng = np.random.default_rng(0)
    for shape in ((61, 47, 3), (200, 31, 1), (31, 200, 4)):
        image = tf.constant(rng.integers(0, 256, shape, "uint8"))
        crops = []
        for strip in (1 << 22, 1, 20_000):
            monkeypatch.setattr(_images, "_STRIP", strip)
            crop = _images.cropper.__wrapped__(24, 20, interpolation, shape[-1])
            crops.append(crop(image).numpy())
            if strip == 20_000:
                crops.append(tf.function(crop)(image).numpy())  # its size is known
        for other in crops[1:]:
            np.testing.assert_array_equal(other, crops[0])


@pytest.mark.parametrize(
    "interpolation", ["bicubic", "pycls", pytest.param("bilinear", marks=pytest.mark.slow)]
)
def test_a_graph_that_knows_the_size_of_images_computes_the_same(interpolation):
    """Smaller and larger images, padded ones, extreme shapes, and squashed ones."""
    rng = np.random.default_rng(0)
    for side, shape in ((40, (8, 8, 3)), (20, (90, 41, 1)), (28, (300, 3, 4)), (None, (50, 21, 3))):
        crop = _images.cropper(side, 32, interpolation, shape[-1])
        image = rng.integers(0, 256, shape, "uint8")
        known = tf.function(crop).get_concrete_function(tf.TensorSpec(shape, tf.uint8))
        assert not any(
            "While" in one.type or "If" in one.type for one in known.graph.get_operations()
        )
        np.testing.assert_array_equal(known(image), crop(tf.constant(image)))
