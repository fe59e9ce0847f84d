"""Networks on the Hugging Face hub: downloads that are checked, and uploads of folders."""

import contextlib
import logging
import re
import shlex
from pathlib import Path
from typing import TypeGuard

from regnet_tf._errors import UserError, first_line
from regnet_tf._files import read_json, replacing, sha256_of

_log = logging.getLogger("regnet_tf")

_SHA256 = re.compile("[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")

#: How the name of a repository begins.
PREFIX = "hf://"
#: Files that hold a network, the best first: a `.keras` file tells most about its network.
NETWORK_FILES = ("model.keras", "model.safetensors", "pytorch_model.bin")
#: The model card. A card on the hub is never replaced, because people edit it there.
CARD = "README.md"


class Unavailable(OSError):
    """A file is neither in the hub's cache nor can be downloaded; the message is the reason."""


def is_hub_name(name: object) -> TypeGuard[str]:
    """Whether a text names a repository on the hub: `hf://user/name`."""
    return isinstance(name, str) and name.startswith(PREFIX)


def repository_of(name: str) -> str:
    """Returns "user/name" of `hf://user/name`.

    Raises:
        UserError: for another form.
    """
    repository = name.removeprefix(PREFIX)
    if not _REPOSITORY.fullmatch(repository):
        raise UserError(f"A name on the Hugging Face hub is hf://user/name. Received: {name!r}")
    return repository


def download_network(name: str) -> Path:
    """Returns the folder of the hub's cache with the network of a repository.

    The first of `NETWORK_FILES` in the repository is downloaded, and `config.json`, which tells the
    network of a weight file.

    Raises:
        UserError: if the name is not of the form `hf://user/name`.
        OSError: if the file is damaged, or is not cached and cannot be downloaded.
    """
    repository = repository_of(name)
    from huggingface_hub.errors import EntryNotFoundError

    for file in NETWORK_FILES:
        try:
            folder = fetch(repository, file).parent
        except Unavailable as error:
            if file != NETWORK_FILES[-1] and isinstance(error.__cause__, EntryNotFoundError):
                continue
            raise OSError(
                f"{name} is not in the cache and could not be downloaded ({error}). It must hold"
                f" {', '.join(NETWORK_FILES[:-1])} or {NETWORK_FILES[-1]}. If it is private, run"
                " `hf auth login`."
            ) from error
        if not file.endswith(".keras"):
            with contextlib.suppress(Unavailable):
                fetch(repository, "config.json")
        break
    return folder


def fetch(repository: str, file: str) -> Path:
    """Returns the path of a repository's file in the hub's cache.

    The hub's client downloads the file if it is not cached. It resumes downloads and respects
    `HF_HUB_OFFLINE`. The file is then checked against the SHA-256 that the hub states.

    Raises:
        Unavailable: if the file is not cached and cannot be downloaded. Its cause is the client's
            error.
        OSError: if the file is damaged.
    """
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(repository, file))
    except Exception as error:  # the client raises its own, requests', httpx' and OS errors
        raise Unavailable(type(error).__name__) from error
    _verify(path, repository)
    return path


def is_offline() -> bool:
    """Whether the hub's client is told to stay offline (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def check_login() -> None:
    """Raises UserError unless a token of the hub is known."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError("You are not logged in to the Hugging Face hub: run `hf auth login`.")


def upload(folder: Path, repository: str, private: bool = False) -> bool:
    """Uploads a folder. The repository is created if it does not exist.

    Args:
        folder: the folder.
        repository: "user/name".
        private: whether a new repository is private.

    Returns:
        Whether the repository has a model card already, which is kept.

    Raises:
        OSError: if it fails; the message has the command that goes on.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="regnet_tf")
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        keeps = api.file_exists(repository, CARD)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            ignore_patterns=[CARD] if keeps else None,
            commit_message="Upload by regnet weights push",
        )
    except Exception as error:  # the client raises its own, requests', httpx' and OS errors
        raise OSError(
            f"The upload to {repository} failed ({first_line(error)}). {folder} is complete. Go on"
            f" with: {upload_command(folder, repository, private)}"
        ) from error
    return keeps


def upload_command(folder: Path, repository: str, private: bool = False) -> str:
    """Returns the hub's own command that uploads a folder."""
    return f"hf upload {repository} {shlex.quote(str(folder))} ." + " --private" * private


def _verify(path, repository):
    """Raises OSError unless the file has the SHA-256 that the hub states."""
    stated = _stated_sha256(path, repository)
    if stated is None:
        _log.info("%s was not checked: nothing states its SHA-256.", path)
        return
    actual = sha256_of(path)
    if actual != stated:
        raise OSError(
            f"{path} is damaged: its SHA-256 is {actual}, the hub states {stated}."
            " Delete it to download it again."
        )


def _stated_sha256(path: Path, repository: str) -> str | None:
    """Returns the SHA-256 that the hub states for a file in its cache; None if nothing tells.

    The cache names a large file by its SHA-256 and links to it. Where it cannot link, as on
    Windows, it holds the file itself. Then the hub is asked. Its answer is kept in the cache for
    times without a connection.
    """
    if _SHA256.fullmatch(path.resolve().name):
        return path.resolve().name
    commit, folder = path.parent.name, path.parents[2]
    kept = folder / "sha256" / commit
    stated = _listed_sha256(folder / "trees" / f"{commit}.json", path.name)
    if stated is None and kept.is_file():
        stated = kept.read_text(encoding="ascii", errors="replace")
    elif stated is None:
        stated = _asked_sha256(repository, path.name, commit)
        if stated is not None:
            with contextlib.suppress(OSError):  # the cache may be read-only
                kept.parent.mkdir(exist_ok=True)
                with replacing(kept) as partial:
                    partial.write_text(stated)
    return stated if isinstance(stated, str) and _SHA256.fullmatch(stated) else None


def _listed_sha256(listing: Path, name: str) -> str | None:
    """Returns a file's SHA-256 from the hub's listing of a commit, which newer clients keep."""
    try:
        return read_json(listing)["files"][name]["lfs_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _asked_sha256(repository: str, name: str, commit: str) -> str | None:
    """Asks the hub for a file's SHA-256; returns None without a connection."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        return get_hf_file_metadata(hf_hub_url(repository, name, revision=commit)).etag
    except Exception:  # the client raises its own, requests', httpx' and OS errors
        return None
