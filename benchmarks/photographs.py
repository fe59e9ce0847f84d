"""`python -m benchmarks.photographs`: writes JPEGs of a typical size, to measure loaders."""

import argparse
from pathlib import Path

import numpy as np
from regnet_command import run, start

_EPILOG = """\
examples:
  python -m benchmarks.photographs --out runs/photographs
  regnet data inspect runs/photographs --recipe timm_ra --batch-size 32 --compare-torch

They are random parts of scikit-learn's two photographs, one class each.

Exit status: 0 after success, 2 after an error."""

_SIZE = (375, 500)  # the commonest height and width in ImageNet
_QUALITY = 95
_COUNTS = {"train": 32, "validation": 1}  # files of each class


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; `sys.argv[1:]` by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photographs",
        description="Writes a folder of JPEGs of 500 x 375 pixels and quality 95.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("runs/photographs")
    out = "folder to write (default: runs/photographs)"
    parser.add_argument("--out", metavar="DIR", type=Path, default=default, help=out)
    options = parser.parse_args(arguments)
    return run(lambda: _write(options.out), parser)


def _write(out):
    import tensorflow as tf

    from regnet_tf._errors import import_optional
    from regnet_tf._files import replacing

    photographs = import_optional("sklearn.datasets").load_sample_images().images
    rng = np.random.default_rng(0)
    for split, count in _COUNTS.items():
        for label, photograph in enumerate(photographs):
            folder = out / split / f"class_{label}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = tf.image.resize(_part(photograph, rng), _SIZE, antialias=True)
                image = tf.cast(tf.round(image), tf.uint8)
                with replacing(folder / f"{number}.jpg") as path:
                    path.write_bytes(tf.io.encode_jpeg(image, quality=_QUALITY).numpy())
    print(f"Written: {sum(_COUNTS.values()) * len(photographs)} images in {out}")


def _part(photograph, rng):
    """Returns a random part of a photograph, of the shape of `_SIZE`, at least half as high."""
    high, wide, _ = photograph.shape
    height = int(rng.integers(high // 2, high + 1))
    width = height * _SIZE[1] // _SIZE[0]
    top, left = rng.integers(high - height + 1), rng.integers(wide - width + 1)
    return photograph[top : top + height, left : left + width]


if __name__ == "__main__":
    start(".photographs", __package__)
