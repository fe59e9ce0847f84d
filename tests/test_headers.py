"""Sizes in the headers of images, against Pillow; files whose headers say more than they hold."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from test_decoding import FILES, IMAGE, NO_IMAGES, RGB, encode

from regnet_tf._headers import first_frame, size_of
from regnet_tf.preprocessing import MAX_PIXELS, Preprocessing, decode_image, load_image

pillow = pytest.importorskip("PIL.Image")

HEIGHT, WIDTH = 13_000, 12_000


def chunk(name, data):
    """A part of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(height, width, before=b"", after=b""):
    """A PNG file of a few bytes, whose header has any size; it may have parts around the header."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + before + header + after + pixels + chunk(b"IEND", b"")


def start_of_frame(file):
    """Where a JPEG has its size."""
    return file.index(b"\xff\xc0")


def jpeg(height, width):
    at = start_of_frame(FILES["JPEG"])
    size = struct.pack(">HH", height, width)
    return FILES["JPEG"][: at + 5] + size + FILES["JPEG"][at + 9 :]


def bmp(height, width):
    return FILES["BMP"][:18] + struct.pack("<ii", width, height) + FILES["BMP"][26:]


def gif(*sizes, blocks=b"\2\2\x44\1\0"):
    """A GIF with a frame for each size; its pixels are given as they are in the file."""
    file = b"GIF89a" + struct.pack("<HHBBB", 5, 4, 0x80, 0, 0) + bytes(6)
    for height, width in sizes:
        file += b"!\xf9\4\0\0\0\0\0," + struct.pack("<HHHHB", 0, 0, width, height, 0) + blocks
    return file + b";"


def webp(height, width, kind):
    """The start of a WebP file."""
    high, wide = struct.pack("<I", height - 1)[:3], struct.pack("<I", width - 1)[:3]
    start = {
        b"VP8 ": b"\x10\0\0\x9d\1\x2a" + struct.pack("<HH", width, height),
        b"VP8L": b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        b"VP8X": bytes(4) + wide + high,
    }[kind]
    content = kind + struct.pack("<I", len(start)) + start + bytes(20)
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


BOMBS = {
    "JPEG": jpeg(HEIGHT, WIDTH),
    "PNG": png(HEIGHT, WIDTH),
    "BMP": bmp(HEIGHT, WIDTH),
    "BMP from the top": bmp(-HEIGHT, WIDTH),
    "GIF": gif((HEIGHT, WIDTH)),
    "GIF after a comment": gif().replace(b";", b"!\xfe\3abc\0") + gif((HEIGHT, WIDTH))[19:],
    **{kind.decode(): webp(HEIGHT, WIDTH, kind) for kind in (b"VP8 ", b"VP8L", b"VP8X")},
}


def test_limit_is_pillows():
    assert pillow.MAX_IMAGE_PIXELS == MAX_PIXELS == Preprocessing().max_pixels


def test_sizes_are_pillows():
    for kind, file in FILES.items():
        width, height = pillow.open(io.BytesIO(file)).size
        assert size_of(tf.constant(file)).numpy().tolist() == [height, width], kind


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(kind, tmp_path):
    (tmp_path / "bomb").write_bytes(BOMBS[kind])
    message = (
        rf"file. Received: '{tmp_path / 'bomb'}' \(It has {WIDTH} x {HEIGHT} pixels, and"
        r" `max_pixels` allows 89,478,485\)$"
    )
    with pytest.raises(ValueError, match=message):
        load_image(tmp_path / "bomb")
    with pytest.raises(ValueError, match="`max_pixels` allows 89,478,485"):
        Preprocessing()([FILES["JPEG"], BOMBS[kind]])


def test_bombs_are_refused_inside_graphs():
    files = tf.data.Dataset.from_tensor_slices(list(BOMBS.values()))
    crops = iter(files.map(Preprocessing().from_bytes))
    for _ in BOMBS:
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{WIDTH} x {HEIGHT} pixels"):
            next(crops)


def test_the_limit_itself_is_allowed():
    pixels = IMAGE.shape[0] * IMAGE.shape[1]
    for limit in (pixels, pixels - 1):
        in_graph = tf.data.Dataset.from_tensor_slices(list(FILES.values()))
        fitting = in_graph.map(lambda file, limit=limit: decode_image(file, max_pixels=limit))
        fitting = fitting.ignore_errors()
        assert len(list(fitting)) == (len(FILES) if limit == pixels else 0)
    small = Preprocessing(image_size=8, max_pixels=pixels - 1)
    for file in FILES.values():
        assert decode_image(file, max_pixels=pixels).shape == (37, 53, 3)
        with pytest.raises(
            ValueError, match=f"It has 53 x 37 pixels, and `max_pixels` allows {limit:,}"
        ):
            small(file)


def test_more_pixels_than_32_bits_count():
    for size in ((1 << 16, 1 << 16), ((1 << 31) - 1, (1 << 31) - 1), (1 << 31, 2)):
        with pytest.raises(ValueError, match=f"It has {size[1]} x {size[0]} pixels"):
            decode_image(png(*size))


def test_files_without_a_size():
    files = (png(0, 5), jpeg(5, 0), gif(), gif((0, 5)), b"RIFF1234WEBPVP8 ", b"RIFF1234WEBPwhat")
    for file in files:
        with pytest.raises(ValueError, match="must be a complete"):
            decode_image(file)


def test_no_second_size():
    """A decoder must not find another size than the one that is compared."""
    file, at = FILES["JPEG"], start_of_frame(FILES["JPEG"])
    frame = file[at : at + 19]
    second = {
        "JPEG": file[:at] + frame + file[at:],
        "PNG": png(
            37, 53, after=chunk(b"IHDR", struct.pack(">IIBBBBB", 9999, 9999, 8, 2, 0, 0, 0))
        ),
        "PNG after a part": png(9999, 9999, before=chunk(b"abCd", struct.pack(">II", 5, 5))),
        "WebP": FILES["WebP"][:12] + webp(5, 5, b"VP8X")[12:30] + FILES["WebP"][12:],
    }
    for kind, content in second.items():
        with pytest.raises(ValueError, match="must be a complete"):
            decode_image(content)
            pytest.fail(kind)


def test_only_the_first_frame_of_a_gif_is_decoded():
    frames = [RGB.quantize(90), RGB.rotate(90).quantize(90), RGB.rotate(180).quantize(90)]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pillow.open(io.BytesIO(animated)).n_frames == 3
    alone = first_frame(tf.constant(animated)).numpy()
    assert pillow.open(io.BytesIO(alone)).n_frames == 1 and len(alone) < len(animated) / 2
    np.testing.assert_array_equal(decode_image(animated), decode_image(alone))
    # TensorFlow would decode all frames.
    bomb = animated[:-1] + gif((60_000, 60_000))[19:]
    assert pillow.open(io.BytesIO(bomb)).n_frames == 4
    np.testing.assert_array_equal(decode_image(bomb), decode_image(animated))


def test_blocks_of_any_length():
    """Encoders write blocks of 255 bytes; others are allowed."""
    file = FILES["GIF gray"]
    at = file.index(b",", 13 + 768) + 11
    data, place = b"", at
    while file[place]:
        data += file[place + 1 : place + 1 + file[place]]
        place += 1 + file[place]
    rng, parts = np.random.default_rng(0), b""
    while data:
        count = int(rng.integers(1, 20))
        parts += bytes([len(data[:count])]) + data[:count]
        data = data[count:]
    odd = file[:at] + parts + file[place:]
    np.testing.assert_array_equal(decode_image(odd), decode_image(file))


def test_endless_blocks_end():
    """The walk over the blocks is bounded: such a file counts as incomplete."""
    with pytest.raises(ValueError, match="must be a complete"):
        decode_image(gif((5, 5), blocks=b"\2" + b"\1\1\2\1\1" * 20_000))


@pytest.mark.parametrize("limit", [0, -1, 1.5, 1 << 63, True])
def test_limits_that_are_none(limit):
    with pytest.raises(ValueError, match="`max_pixels` must be an integer of at least 1"):
        Preprocessing(max_pixels=limit)
    with pytest.raises(ValueError, match="`max_pixels` must be an integer of at least 1"):
        decode_image(FILES["PNG"], max_pixels=limit)


def test_damaged_headers_give_no_size_or_an_error():
    for content in NO_IMAGES.values():
        try:
            size = size_of(tf.constant(content)).numpy()
        except tf.errors.InvalidArgumentError:
            continue
        assert size.tolist() in ([0, 0], [37, 53])
