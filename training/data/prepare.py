"""Prepares a data set of tensorflow-datasets from downloads or archives."""

import contextlib
import io
import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any

from regnet_tf._errors import UserError, import_optional

from .tfds_catalog import is_prepared

#: data set -> archives to download by hand -> bytes.
ARCHIVES = {
    "imagenet2012": {
        "ILSVRC2012_img_train.tar": 147_897_477_120,
        "ILSVRC2012_img_val.tar": 6_744_924_160,
    },
    "imagenet2012_real": {"ILSVRC2012_img_val.tar": 6_744_924_160},
}

# Disk space, as a multiple of the archives' size. For photographs of ImageNet's size the prepared
# files take 0.99. Temporary files, sorted by hash into 1000 parts, are removed part by part.
_SPACE = 1.02


def prepare(
    builder: Any,
    manual_dir: str | Path | None = None,
    any_size: bool = False,
    files: int | dict[str, int] | None = None,
    progress: bool = True,
) -> bool:
    """Writes the files of a data set, unless they exist.

    Args:
        builder: return value of `training.data.tfds_catalog.find`. Afterwards it gives access to
            the prepared data.
        manual_dir: folder of the archives that were downloaded by hand; None for the default of
            tensorflow-datasets, `downloads/manual` in its data folder.
        any_size: whether to accept archives whose size differs from the official one.
        files: number of files per split; None to let tensorflow-datasets choose: one file for
            small data sets, 1024 for ImageNet.
        progress: whether to show progress bars on stderr.

    Returns:
        True if the data set was prepared now, False if it already was.

    Raises:
        UserError: before any work, with one line per problem, if archives are missing or have
            another size, or the disk is too small; later, if a download or an archive fails.
    """
    tfds = import_optional("tensorflow_datasets")
    if is_prepared(builder):
        return False
    manual_dir = Path(manual_dir or builder.data_dir_root / "downloads" / "manual")
    _check(builder, manual_dir.expanduser(), any_size)
    print(f"Preparing {builder.info.full_name} in {builder.data_dir_root} ...", flush=True)
    config = tfds.download.DownloadConfig(
        manual_dir=str(manual_dir), try_download_gcs=False, num_shards=files
    )
    (tfds.enable_progress_bar if progress else tfds.disable_progress_bar)()
    try:
        with _without_chatter():
            builder.download_and_prepare(download_config=config)
    except tarfile.TarError as error:
        raise UserError(f"An archive in {manual_dir} is damaged: {error}.") from error
    except Exception as error:  # a download or third-party code may raise anything
        raise _cannot(builder, [f"{type(error).__name__}: {error}"]) from error
    if not is_prepared(builder):
        raise UserError(f"{builder.data_dir} holds incomplete data. Remove it and try again.")
    return True


def _check(builder, manual_dir, any_size):
    """Raises one `UserError` that lists all problems."""
    official = ARCHIVES.get(builder.name, {})
    paths = {name: manual_dir / name for name in official}
    found = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    missing = [name for name in official if name not in found]
    differing = [name for name in found if found[name] != official[name] and not any_size]
    problems = [f"{paths[name]} is missing ({official[name]:,} bytes)." for name in missing]
    if missing:
        problems.append(
            "Download them from https://image-net.org/download-images (after you register)."
        )
    problems += [
        f"{paths[name]} has {found[name]:,} bytes instead of {official[name]:,}."
        for name in differing
    ]
    if differing:
        problems.append("Archives that were cut down on purpose, to try things out: --any-size.")
    sizes = {**official, **found} if any_size else official
    problems += _lack_of_space(builder.data_dir_root, sum(sizes.values()) * _SPACE)
    if problems:
        raise _cannot(builder, problems)


def _cannot(builder, problems):
    return UserError(f"{builder.name} cannot be prepared: {' '.join(problems)}")


def _lack_of_space(folder, needed):
    """Returns a list with an error message if the folder has too few free bytes, else [].

    The folder need not exist.
    """
    if "://" in str(folder):  # a bucket
        return []
    folder = Path(folder)
    existing = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(existing).free
    if free >= needed:
        return []
    return [
        f"{folder} has {free / 1e9:,.0f} GB of free space; what is written there takes"
        f" {needed / 1e9:,.0f} GB."
    ]


@contextlib.contextmanager
def _without_chatter():
    """Silences the messages and warnings of tensorflow-datasets.

    They say that ImageNet's test images, which have no labels, are missing, and that sizes are
    unknown.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
