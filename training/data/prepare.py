"""Writes the files of a data set of tensorflow-datasets, from downloads or from archives."""

import contextlib
import io
import logging
import shutil
import tarfile
import textwrap
from pathlib import Path

from regnet_tf._errors import UserError, import_optional

from .tfds_catalog import is_prepared

#: data set -> archives that have to be downloaded by hand -> bytes.
ARCHIVES = {
    "imagenet2012": {
        "ILSVRC2012_img_train.tar": 147_897_477_120,
        "ILSVRC2012_img_val.tar": 6_744_924_160,
    }
}

# The files take 0.99 of the archives' space for photographs of ImageNet's size. What is written on
# the way, sorted by hash into 1000 parts, tensorflow-datasets removes part by part as it goes on.
_SPACE = 1.02


def prepare(builder, manual_dir=None, any_size=False, files=None, progress=True) -> bool:
    """Writes the files of a data set, unless they are there.

    Args:
        builder: what `training.data.tfds_catalog.find` returned; it knows of its data afterwards.
        manual_dir: folder of the archives that were downloaded by hand; None for the default of
            tensorflow-datasets, `downloads/manual` in its data folder.
        any_size: whether archives of other sizes than the official ones are taken.
        files: number of files of each split; None for the choice of tensorflow-datasets, which
            keeps little data in one file and gives ImageNet 1024.
        progress: whether to show bars on stderr.

    Returns:
        Whether there was anything to do.

    Raises:
        UserError: before any work, with a line for everything that is missing, if archives are, or
            have another size, or if the disk is too small; later, if a download or an archive
            fails.
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
    except Exception as error:  # whatever a download or another's code for the data set raises
        raise _cannot(builder, [f"{type(error).__name__}: {error}"]) from error
    if not is_prepared(builder):
        raise UserError(f"{builder.data_dir} holds incomplete data. Remove it and try again.")
    return True


def _check(builder, manual_dir, any_size):
    """Collects what stands in the way, so that one look tells all of it."""
    official = ARCHIVES.get(builder.name, {})
    paths = {name: manual_dir / name for name in official}
    found = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    missing = [name for name in official if name not in found]
    differing = [name for name in found if found[name] != official[name] and not any_size]
    problems = [f"{paths[name]} is missing ({official[name]:,} bytes)." for name in missing]
    if missing:
        problems.append("The archives come from https://image-net.org/download-images")
    problems += [
        f"{paths[name]} has {found[name]:,} bytes instead of {official[name]:,}."
        for name in differing
    ]
    if differing:
        problems.append("Archives that were cut down on purpose, to try things out: --any-size")
    sizes = {**official, **found} if any_size else official
    problems += _lack_of_space(builder.data_dir_root, sum(sizes.values()) * _SPACE)
    if problems:
        raise _cannot(builder, problems)


def _cannot(builder, problems):
    lines = textwrap.indent("\n".join(problems), "  ")
    return UserError(f"{builder.name} can not be prepared:\n{lines}")


def _lack_of_space(folder, needed):
    """A list with a sentence, if a folder, which need not exist, has fewer free bytes."""
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
    """Without what tensorflow-datasets prints and warns of.

    That is: that ImageNet's test images, which have no labels, are not there, and that sizes are
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
