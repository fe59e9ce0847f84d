"""Decoding of every format, and the orientation in metadata, against Pillow."""

import io
import pathlib
import struct

import numpy as np
import pytest
import tensorflow as tf

from regnet_tf.preprocessing import Preprocessing, decode_image, load_image

GOLDEN = pathlib.Path(__file__).parent / "golden" / "preprocess"
PHOTO = GOLDEN / "rocket.jpg"
pillow = pytest.importorskip("PIL.Image")


def smooth_image(height, width, channels=3, seed=0):
    """As photographs are: JPEG's color subsampling would drown in noise."""
    coarse = np.random.default_rng(seed).integers(
        0, 256, (height // 8 + 2, width // 8 + 2, channels)
    )
    image = tf.image.resize(coarse, (height, width), "bicubic")
    return np.clip(image.numpy(), 0, 255).astype("uint8")


def encode(image, file_format, **options):
    """Encodes a Pillow image, or an array, by Pillow."""
    image = image if isinstance(image, pillow.Image) else pillow.fromarray(image)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


IMAGE = smooth_image(37, 53, 4)
RGB = pillow.fromarray(IMAGE[..., :3])
GRAY = pillow.fromarray(IMAGE[..., 0])
RGBA = pillow.fromarray(IMAGE)
NOISE16 = np.random.default_rng(0).integers(0, 1 << 16, (37, 53, 4), "uint16")
SMALL_FRAME = RGB.quantize(20).crop((0, 0, 20, 30))


def bitfields_bmp(masks=(0xFF0000, 0xFF00, 0xFF)):
    """A BMP whose header names the bits of each color, as GIMP writes them."""
    pixels = np.dstack([IMAGE[::-1, :, 2::-1], IMAGE[::-1, :, 3]]).tobytes()
    size = struct.pack("<IiiHHIIiiII", 40, 53, 37, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header = b"BM" + struct.pack("<IHHI", 66 + len(pixels), 0, 0, 66) + size
    return header + struct.pack("<III", *masks) + pixels


FILES = {
    "JPEG": encode(RGB, "JPEG"),
    "JPEG gray": encode(GRAY, "JPEG"),
    "PNG": encode(RGB, "PNG"),
    "PNG RGBA": encode(RGBA, "PNG"),
    "PNG gray": encode(GRAY, "PNG"),
    "PNG gray with alpha": encode(pillow.fromarray(IMAGE[..., :2], "LA"), "PNG"),
    "PNG of 1 bit": encode(GRAY.convert("1"), "PNG"),
    "PNG palette": encode(RGB.quantize(13), "PNG"),
    "PNG palette, one transparent": encode(RGB.quantize(13), "PNG", transparency=3),
    "PNG palette with alpha": encode(RGB.quantize(13), "PNG", transparency=bytes(range(13))),
    "PNG one transparent color": encode(RGB, "PNG", transparency=RGB.getpixel((3, 4))),
    "PNG 16 bits RGB": tf.io.encode_png(NOISE16[..., :3]).numpy(),
    "PNG 16 bits RGBA": tf.io.encode_png(NOISE16).numpy(),
    "BMP": encode(RGB, "BMP"),
    "BMP gray": encode(GRAY, "BMP"),
    "BMP palette": encode(RGB.quantize(200), "BMP"),
    "BMP short palette": encode(RGB.quantize(13), "BMP"),
    "BMP 32 bits": encode(RGBA, "BMP"),
    "BMP bit fields": bitfields_bmp(),
    "GIF": encode(RGB.quantize(100), "GIF"),
    "GIF gray": encode(GRAY, "GIF"),
    "GIF animated": encode(
        RGB.quantize(90), "GIF", save_all=True, append_images=[RGB.rotate(180).quantize(90)]
    ),
    "WebP": encode(RGB, "WebP"),
    "WebP lossless": encode(RGB, "WebP", lossless=True),
    "WebP with alpha": encode(RGBA, "WebP"),
    "WebP lossless with alpha": encode(RGBA, "WebP", lossless=True, exact=True),
}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_formats_decode_as_in_pillow(channels, mode):
    in_graph = tf.data.Dataset.from_tensor_slices(list(FILES.values()))
    in_graph = iter(in_graph.map(lambda file: decode_image(file, channels)))
    for kind, file in FILES.items():
        image = pillow.open(io.BytesIO(file))
        image = image.convert("RGB").convert("L") if mode == "L" else image.convert(mode)
        expected = np.asarray(image).reshape(*IMAGE.shape[:2], channels)
        found = decode_image(file, channels)
        assert found.dtype == tf.uint8
        np.testing.assert_array_equal(found, expected, kind)
        np.testing.assert_array_equal(next(in_graph), expected, kind)


def test_transparent_pixels_of_gifs_are_black():
    image = RGB.quantize(13)
    expected = np.asarray(image.convert("RGB")) * (np.asarray(image) != 3)[..., None]
    found = decode_image(encode(image, "GIF", transparency=3), 4)
    np.testing.assert_array_equal(found[..., :3], expected)
    assert (found[..., 3].numpy() == 255).all()


@pytest.mark.parametrize("size", [(64, 64), (37, 53), (1, 17), (19, 2)])
def test_jpegs_decode_as_in_pillow(size):
    image = smooth_image(*size)
    files = {
        (subsampling, progressive): encode(
            image, "JPEG", subsampling=subsampling, progressive=progressive, quality=85
        )
        for subsampling in ("4:4:4", "4:2:2", "4:2:0")
        for progressive in (False, True)
    }
    files["coarse"] = encode(image, "JPEG", quality=5)
    files["gray"] = encode(image[..., 0], "JPEG")
    exif = pillow.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: ignored, as timm and torchvision do
    files["exif"] = encode(image, "JPEG", exif=exif)
    for kind, file in files.items():
        expected = pillow.open(io.BytesIO(file)).convert("RGB")
        np.testing.assert_array_equal(decode_image(file), expected, str(kind))


def test_cmyk_jpeg_is_within_one_level_of_pillow():
    file = encode(pillow.fromarray(smooth_image(40, 50, 4), "CMYK"), "JPEG")
    expected = np.asarray(pillow.open(io.BytesIO(file)).convert("RGB"), "int")
    assert np.abs(decode_image(file).numpy() - expected).max() <= 1


def test_gray_png_of_16_bits_keeps_the_higher_byte():
    levels = np.random.default_rng(0).integers(0, 1 << 16, (5, 6, 1), "uint16")
    image = decode_image(tf.io.encode_png(levels).numpy())
    np.testing.assert_array_equal(image, np.repeat(levels >> 8, 3, axis=-1))


# What is no image.


def bmp_of_bits(bits):
    return FILES["BMP"][:28] + bytes([bits, 0]) + FILES["BMP"][30:]


NO_IMAGES = {
    "text.jpg": b"These are words.",
    "empty.png": b"",
    "image.tiff": encode(RGB, "TIFF"),
    "animated.webp": encode(RGB, "WebP", save_all=True, append_images=[RGB.rotate(180)]),
    "1bit.bmp": encode(GRAY.convert("1"), "BMP"),
    "16bit.bmp": bmp_of_bits(16),
    "compressed.bmp": FILES["BMP gray"][:30] + b"\1" + FILES["BMP gray"][31:],
    "masks.bmp": bitfields_bmp((0xFF, 0xFF00, 0xFF0000)),
    "start.bmp": b"BM12",
    "start.webp": b"RIFF",
    "start.gif": b"GIF89a",
    "start.png": b"\x89PNG",
    **{
        f"{share}.{kind}": FILES[kind][: int(len(FILES[kind]) * share)]
        for kind in ("JPEG", "PNG", "BMP", "GIF", "WebP")
        for share in (0.1, 0.5, 0.99)
    },
}


@pytest.mark.parametrize("channels", [3, 4])
def test_files_that_are_no_images_are_named(tmp_path, channels):
    preprocessing = Preprocessing().with_channels(channels)
    in_graph = tf.function(lambda file: decode_image(file, channels)).get_concrete_function(
        tf.TensorSpec([], tf.string)
    )
    message = r"^An image must be a complete JPEG, PNG, BMP, GIF or WebP file\. Received: "
    for name, content in NO_IMAGES.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message + rf"'.*{name}' \(.+\)$") as error:
            load_image(path, channels)
        assert "\n" not in str(error.value)
        with pytest.raises(ValueError, match=message):
            preprocessing(content)
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_graph(tf.constant(content))


def test_reasons_are_given():
    with pytest.raises(ValueError, match="animated WebP"):
        decode_image(NO_IMAGES["animated.webp"])
    with pytest.raises(ValueError, match="compressed or not of 8, 24 or 32 bits"):
        decode_image(NO_IMAGES["1bit.bmp"])


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / b"caf\xe9.jpg".decode(errors="surrogateescape")
    path.write_bytes(PHOTO.read_bytes())
    np.testing.assert_array_equal(load_image(path), load_image(PHOTO))


# Orientation.


def turned(file):
    ops = pytest.importorskip("PIL.ImageOps")
    return np.asarray(ops.exif_transpose(pillow.open(io.BytesIO(file))).convert("RGB"))


def exif(orientation, endian="<"):
    metadata = pillow.Exif()
    metadata.endian = endian
    metadata[0x010E] = "a description"
    metadata[0x0112] = orientation
    return metadata.tobytes()


def jpeg_with(tiff):
    """A JPEG whose EXIF is given without its prefix."""
    return encode(RGB, "JPEG", exif=b"Exif\0\0" + tiff)


def big_endian(orientation):
    """Two entries, as cameras write them: a description beyond the directory, the orientation."""
    entries = struct.pack(">HHHII", 2, 0x010E, 2, 8, 38)
    entries += struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">I", 8) + entries + bytes(4) + b"picture\0"


def test_orientation_is_ignored_by_default():
    file = encode(RGB, "JPEG", exif=exif(6))
    np.testing.assert_array_equal(decode_image(file), decode_image(FILES["JPEG"]))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WebP"])
def test_orientations_equal_pillow(file_format):
    files = [encode(RGB, file_format, exif=exif(number)) for number in range(1, 9)]
    in_graph = tf.data.Dataset.from_tensor_slices(files)
    in_graph = iter(in_graph.map(lambda file: decode_image(file, exif_orientation=True)))
    for number, file in enumerate(files, start=1):
        expected = turned(file)
        assert expected.shape == ((37, 53, 3) if number < 5 else (53, 37, 3))
        found = decode_image(file, exif_orientation=True)
        np.testing.assert_array_equal(found, expected, str(number))
        np.testing.assert_array_equal(next(in_graph), expected, str(number))


def test_both_byte_orders():
    for number in range(1, 9):
        file = jpeg_with(big_endian(number))
        found = decode_image(file, exif_orientation=True)
        np.testing.assert_array_equal(found, turned(file), str(number))
        assert (number >= 5) == (found.shape[0] == 53)


def test_metadata_after_other_segments():
    file = encode(RGB, "JPEG", exif=exif(8), comment=b"words " * 100, icc_profile=bytes(70000))
    np.testing.assert_array_equal(decode_image(file, exif_orientation=True), turned(file))


@pytest.mark.parametrize("channels", [1, 4])
def test_orientation_of_other_channels(channels):
    file = encode(RGBA, "PNG", exif=exif(6))
    upright = np.rot90(decode_image(file, channels), -1)
    found = decode_image(file, channels, exif_orientation=True)
    np.testing.assert_array_equal(found, upright)


def damaged(file, rng):
    """Changes bytes of the metadata, which begins in the first 100 bytes of a JPEG."""
    content = bytearray(file)
    for _ in range(rng.integers(1, 6)):
        content[rng.integers(20, 90)] = rng.integers(256)
    return bytes(content)


def test_damaged_metadata_is_ignored():
    tiff, plain = big_endian(6), decode_image(FILES["JPEG"]).numpy()
    cases = {
        "no entries": tiff[:8],
        "cut in the entry": tiff[:26],
        "offset beyond the end": tiff[:4] + b"\xff\xff\xff\xff" + tiff[8:],
        "number of entries beyond the end": tiff[:8] + b"\xff\xff" + tiff[34:],
        "byte order": b"XX" + tiff[2:],
        "magic number": tiff[:3] + b"+" + tiff[4:],
        "orientation 0": big_endian(0),
        "orientation 9": big_endian(9),
        "empty": b"",
    }
    for name, case in cases.items():
        found = decode_image(jpeg_with(case), exif_orientation=True)
        np.testing.assert_array_equal(found, plain, name)
    file, rng = jpeg_with(tiff), np.random.default_rng(0)
    for _ in range(200):  # no error, no endless loop
        content = damaged(file, rng)
        try:
            decode_image(content)
        except ValueError:
            continue
        assert sorted(decode_image(content, exif_orientation=True).shape) == [3, 37, 53]


def test_preprocessing_turns_files(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(RGB, "JPEG", exif=exif(6)))
    upright = Preprocessing(image_size=20, exif_orientation=True)
    expected = Preprocessing(image_size=20)(turned(path.read_bytes()))
    for source in (path, path.read_bytes(), tf.constant([path.read_bytes()])):
        np.testing.assert_array_equal(upright(source), expected)
    dataset = tf.data.Dataset.from_tensors(str(path)).map(upright.from_file)
    np.testing.assert_array_equal(next(iter(dataset)), expected[0])

    class Server(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, files):
            return upright(files)

    tf.saved_model.save(Server(), str(tmp_path / "served"))
    served = tf.saved_model.load(str(tmp_path / "served")).serve
    np.testing.assert_array_equal(served(tf.constant([path.read_bytes()])), expected)
