"""Small files that ask for very much: memory, time or depth."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

SIDE = 13_000
_GIB = 2**30
#: Texts that are bombs where JSON is read.
JSON = {
    "[ 200,000 times": "[" * 200_000,
    "dicts 100,000 deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a list": "[1, 2]",
    "a number of 400 digits": "1" + "0" * 400,
    "nothing": "",
}
#: Values that are bombs where JSON has a number.
NUMBERS = ("1" + "0" * 400, "1e999", "-1e999", "NaN", "1e31", "1" + "0" * 19, "-1", '"1"', "[]")


def write_image_bombs(folder: Path) -> None:
    """Writes images of 13,000 x 13,000 pixels.

    Most are headers of tiny images that tell another size.
    """
    small = Image.new("RGB", (16, 16), (90, 120, 30))
    found = {name: io.BytesIO() for name in ("jpg", "png", "bmp", "gif", "webp")}
    for suffix, file in found.items():
        small.save(file, "jpeg" if suffix == "jpg" else suffix, lossless=True)
    content = {suffix: bytearray(file.getvalue()) for suffix, file in found.items()}
    at = content["jpg"].index(b"\xff\xc0") + 5
    content["jpg"][at : at + 4] = struct.pack(">HH", SIDE, SIDE)
    content["bmp"][18:26] = struct.pack("<ii", SIDE, SIDE)
    content["gif"][6:10] = struct.pack("<HH", SIDE, SIDE)
    at = content["gif"].index(b"\x2c") + 5
    content["gif"][at : at + 4] = struct.pack("<HH", SIDE, SIDE)
    at = content["webp"].index(b"VP8L") + 9
    bits = struct.unpack_from("<I", content["webp"], at)[0] & ~(2**28 - 1)
    struct.pack_into("<I", content["webp"], at, bits | (SIDE - 1) << 14 | (SIDE - 1))
    content["png"] = _png(SIDE, SIDE)
    for suffix, data in content.items():
        (folder / f"bomb.{suffix}").write_bytes(data)
        frames = folder / "frames.gif"
    blank = Image.new("P", (1000, 1000))
    blank.save(frames, save_all=True, append_images=[_dotted(blank, n) for n in range(600)])


def _dotted(image, number):
    """Returns a copy with another pixel, or Pillow would leave the frame out."""
    copy = image.copy()
    copy.putpixel((number, number), 1)
    return copy


def _png(width, height):
    """Returns a whole PNG of one bit a pixel, all black."""
    rows = bytes((1 + -(-width // 8)) * height)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows, 9),
        b"IEND": b"",
    }
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_weight_bombs(folder: Path, whole: Path) -> None:
    """Writes files of weights that ask for very much.

    Args:
        folder: to write to.
        whole: a folder with `model.keras`, `model.npz` and so on.
    """
    path = folder / "deep.safetensors"
    header = JSON["[ 200,000 times"].encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    path = folder / "long_header.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    path = folder / "large_tensor.safetensors"
    fields = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4 * 2**40]}
    header = json.dumps({"stem.conv.weight": fields}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    path = folder / "zeros.npz"
    _zip_of_zeros(path, "stem.conv.weight.npy", 6 * _GIB, _npy_header(6 * _GIB // 4))
    path = folder / "told.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stem.conv.weight.npy", _npy_header(2**45) + bytes(64))
    path = folder / "unwritten.weights.h5"
    path.write_bytes((whole / "model.weights.h5").read_bytes())
    _unwritten(path)
    path = folder / "unwritten.keras"
    with zipfile.ZipFile(whole / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        inner = folder.parent / "inner.h5"
        inner.write_bytes(old.read("model.weights.h5"))
        _unwritten(inner)
        new.write(inner, "model.weights.h5")
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))
    for what, text in JSON.items():
        path = folder / f"config {what.replace(' ', '_')}.keras"
        with zipfile.ZipFile(whole / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                new.writestr(name, text if name == "config.json" else old.read(name))
        path = folder / "zeros.pth"
    _zip_of_zeros(path, "archive/data.pkl", 6 * _GIB, b"\x80\x02")


def _npy_header(count):
    file = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def _unwritten(path):
    """Gives each dataset of an HDF5 file a shape of 2**40 numbers, of which none is written."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(
            lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None
        )
        for name in names:
            shape = (2**20, *file[name].shape[1:]) if file[name].ndim else (2**33,)
            shape = (2**40 // max(1, int(np.prod(shape[1:]))), *shape[1:])
            del file[name]
            file.create_dataset(name, shape, "f4", chunks=True)


def _zip_of_zeros(path, name, size, start):
    """Writes an archive of one entry: a few bytes and then zeros, a thousandth of its size."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        entry.write(start)
        block = bytes(2**24)
        for _ in range(size // len(block)):
            entry.write(block)
