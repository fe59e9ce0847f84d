"""`regnet weights push`: shares a trained network on the Hugging Face hub."""

import argparse
from pathlib import Path

_EPILOG = """\
examples:
  regnet weights push runs/mine hf://user/name --licence mit
  regnet weights push runs/mine my_folder

The folder has model.safetensors and config.json for timm, model.keras for regnet_tf and Keras,
model.weights.h5 and .json files for KerasHub, and a model card, README.md.

For hf://user/name, the folder is written first and then uploaded. Log in before by `hf auth login`.
With HF_HUB_OFFLINE=1, nothing is sent. A model card on the hub is kept. If the upload fails, the
folder stays, and the message has the command that goes on."""


def add_push(actions):
    """Adds the action `push` to those of `regnet weights`.

    Args:
        actions: the subparsers.
    """
    push = actions.add_parser(
        "push",
        help="share a trained network on the Hugging Face hub",
        description="Shares a trained network, for timm, regnet_tf, Keras and KerasHub.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = push.add_argument
    add("source", metavar="RUN", help="folder that regnet train wrote, .keras file, or tag")
    add("target", metavar="TARGET", help="hf://user/name, or the folder to write")
    add(
        "--folder",
        metavar="DIR",
        type=Path,
        help="folder to write before the upload to hf:// (default: RUN-hub)",
    )
    add(
        "--licence",
        metavar="NAME",
        help="licence, such as mit or apache-2.0 (default: that of the published weights that the"
        " training began with, else none)",
    )
    add("--private", action="store_true", help="create a private repository")
    push.set_defaults(run=_push)


def _push(options):
    from regnet_tf._checks import check
    from regnet_tf._files import print_paths
    from regnet_tf.sharing import hub
    from regnet_tf.sharing.folder import write_folder

    sent = hub.is_hub_name(options.target)
    for name in ("folder", "private"):
        value = getattr(options, name)
        check(f"--{name}", value, sent or not value, "given with hf://user/name alone")
    repository = hub.repository_of(options.target) if sent else None
    if sent and not hub.is_offline():
        hub.check_login()
    folder = (options.folder or _beside(options.source)) if sent else Path(options.target)
    written = write_folder(
        options.source, folder, options.target if sent else None, options.licence
    )
    print(f"Written to {folder}:")
    print_paths(folder, written.files)
    for note in written.notes:
        print(note)
    if repository is None:
        return
    if hub.is_offline():
        command = hub.upload_command(folder, repository, options.private)
        print(f"HF_HUB_OFFLINE is set, so nothing was sent. To send it: {command}")
        return
    kept = hub.upload(folder, repository, options.private)
    print(f"Uploaded: https://huggingface.co/{repository}")
    if kept:
        print(f"The model card on the hub was kept. The new one is {folder / hub.CARD}.")


def _beside(source):
    """Returns the folder beside a run or file; for a tag or a name on the hub, here."""
    path = Path(source)
    if path.name in ("", ".."):
        path = path.resolve()
    if not path.parent.exists():
        path = Path(path.name)
    return path.with_name(f"{path.name.removesuffix('.keras')}-hub")
