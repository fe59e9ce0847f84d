"""`python -m training.model_zoo`: writes the page of all networks, published weights and speeds."""

import argparse
import json
import re
import sys
from importlib import resources
from pathlib import Path

from training.command import start_tensorflow

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "model_zoo.md"
RECORDS = ROOT / "training" / "benchmarks"
FAMILIES = ("RegNetX", "RegNetY")
MODES = {"train": "training", "forward": "inference"}

_EPILOG = """\
The page is made of the table of variants, the table of published weights, and recorded speeds:
files that python -m training.benchmark wrote, named by the day and the machine, such as
2030-01-31_workstation.json. Without any, the page has no speeds.

Exit status: 0 if it worked, 2 if a file is no such record."""

_HEAD = """\
# Model zoo

All networks that `regnet_tf` knows by name. This page is written by `python -m training.model_zoo`.

Parameters, multiply-adds and activations are counted by
[`complexity`][regnet_tf.complexity.complexity], with 1000 classes and at 224 pixels unless a table
says otherwise. **Accuracies are not this project's**: they are ImageNet-1k's, in percent, as the
source that stands beside them publishes them.
"""

_NETWORKS = """\
## Networks

Top-1 is the best that is published of the weights that `weights="imagenet"` loads;
[below](#published-accuracies) are all others.
"""

_SPEED_COLUMNS = """
Images/s are this project's, of the record "{title}", {setting}: see [speed](#speed).
"""

_STRUCTURE = """\
## Structure

The numbers of the width generator (depth d, initial width w_0, slope w_a, multiplier w_m, group
width g), and the stages that it makes of them. `create_model` and `get_config` take the key, which
is timm's, and [many other names](reference/configurations.md#configurations). Variants in `-tv`
have torchvision's rounding of widths; `-sgn` has group normalization and SiLU.
"""

_WEIGHTS = """\
## Published weights

{about}

[`weights="TAG"`](reference/models.md#any-network) loads them; `weights="imagenet"` takes none but
those of 1000 classes whose licence allows commercial use.
"""

_ACCURACIES = """\
On ImageNet-1k's validation set, as published by the source; this project did not measure them
([`python -m training.evaluate --compare-published`](commands.md#training.evaluate) does). An
image's shorter side is resized to so many pixels, and the square in its middle is taken.
"""

_SPEED = """\
## Speed

Images per second as `python -m training.benchmark` measured them: the median of the turns, in
parentheses the slowest and the fastest. "Times" another implementation: this project's speed over
that of the other in the same process, the median of the ratios turn by turn.
"""


def main(arguments=None) -> int:
    """Runs the command; returns its exit status.

    Args:
        arguments: list of strings; those of the process by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training.model_zoo",
        description="Writes the page of all networks, published weights and recorded speeds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--records", metavar="DIR", type=Path, default=RECORDS, help="default: training/benchmarks")
    add("--out", metavar="FILE", type=Path, default=PAGE, help="default: docs/model_zoo.md")
    options = parser.parse_args(arguments)
    start_tensorflow()
    from regnet_tf._errors import UserError, fail
    from regnet_tf._files import replacing

    try:
        text = page(read_records(options.records))
        with replacing(options.out) as path:
            path.write_text(text)
    except (UserError, OSError) as error:
        return fail(parser, error)
    print(f"Written: {options.out}")
    return 0


def read_records(folder) -> list[dict]:
    """The recorded speeds in a folder, newest first.

    Args:
        folder: a `Path`; may be missing.

    Returns:
        What `training.benchmark` wrote into each file, with "date" and "machine" of its name.

    Raises:
        UserError: for a file of another name or content.
    """
    return [_read_record(path) for path in sorted(folder.glob("*.json"), reverse=True)]


def _read_record(path):
    from regnet_tf._errors import UserError

    name = re.fullmatch(r"(\d{4}-\d\d-\d\d)_(.+)", path.stem)
    if name is None:
        raise UserError(f"{path} is not named like 2030-01-31_machine.json")
    try:
        record = json.loads(path.read_text())
        known = all("contenders" in result for result in record["results"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of `python -m training.benchmark`") from error
    if not known:
        raise UserError(f"{path} holds the speed of a recipe, not of networks")
    return {"date": name[1], "machine": name[2].replace("_", " "), **record}


def page(records) -> str:
    """The page, as markdown.

    Args:
        records: as `read_records` gives them.
    """
    parts = [_HEAD, _NETWORKS]
    speeds = _speeds_of_networks(records)
    if speeds:
        parts[-1] += _SPEED_COLUMNS.format(**speeds)
    for family in FAMILIES:
        parts.append(f"### {family}\n\n{_networks_table(family, speeds)}")
    parts.append(_STRUCTURE)
    for family in FAMILIES:
        parts.append(f"### Structure of {family}\n\n{_structure_table(family)}")
    parts.append(_WEIGHTS.format(about=_about()))
    for family in FAMILIES:
        parts.append(f"### Weights of {family}\n\n{_weights_table(family)}")
    parts.append(f"## Published accuracies\n\n{_ACCURACIES}")
    for family in FAMILIES:
        parts.append(f"### Accuracies of {family}\n\n{_accuracies_table(family)}")
    if records:
        parts += [_SPEED, *map(_record_section, records)]
    return "\n".join(parts)


def _variants(family):
    """Key -> row of the variants of a family."""
    from regnet_tf import VARIANTS

    return {key: row for key, row in VARIANTS.items() if row.display_name.startswith(family)}


def _infos(family):
    """The published weights of a family."""
    from regnet_tf import list_weights, weights_info

    return [weights_info(tag) for tag in list_weights(f"{family.lower()}_*")]


def _networks_table(family, speeds):
    from regnet_tf import complexity

    columns = ["variant", "parameters (M)", "multiply-adds (G)", "activations (M)"]
    columns += ["top-1 (%)", "published by, pixels", "weights"]
    columns += [f"{MODES[mode]}, images/s" for mode in speeds.get("modes", ())]
    rows = []
    for key, variant in _variants(family).items():
        cost = complexity(variant.config)
        row = [variant.display_name, *_costs(cost), *_best_accuracy(key)]
        measured = speeds.get("variants", {}).get(key, {})
        for mode in speeds.get("modes", ()):
            row.append(f"{measured[mode]['images_per_second']:.1f}" if mode in measured else "")
        rows.append(row)
    return _table(columns, rows, text=(0, 5, 6))


def _costs(cost):
    return [
        f"{cost.parameters / 1e6:.1f}",
        f"{cost.macs / 1e9:.2f}",
        f"{cost.activations / 1e6:.1f}",
    ]


def _best_accuracy(key):
    """Top-1, by whom, and tag of what `weights="imagenet"` means; empty where it means none."""
    from regnet_tf import weights_info
    from regnet_tf.weights import best_weights

    try:
        info = weights_info(best_weights(key))
    except ValueError:
        return "", "", ""
    best = max(info.published, key=lambda entry: entry["top1"])
    return f"{best['top1']:.2f}", f"{best['source']}, {best['image_size']}", f"`{info.tag}`"


def _structure_table(family):
    columns = ["variant", "key", "d", "w_0", "w_a", "w_m", "g", "widths of the stages"]
    columns += ["depths", "group widths"]
    rows = []
    for key, variant in _variants(family).items():
        stages = variant.config.stages
        rows.append([variant.display_name, f"`{key}`", *variant[1:6]])
        for field in ("width", "depth", "group_width"):
            rows[-1].append(", ".join(str(getattr(stage, field)) for stage in stages))
    return _table(columns, rows, text=(0, 1, 7, 8, 9))


def _about():
    """Where the table of published weights comes from."""
    rows = json.loads(resources.files("regnet_tf").joinpath("data/weights.json").read_text())
    return rows["_about"]


def _weights_table(family):
    from regnet_tf import complexity

    columns = ["tag", "trained by", "licence", "commercial use", "classes", "parameters (M)"]
    rows = []
    for info in _infos(family):
        head = {"classes": info.classes} if info.classes else {"include_top": False}
        owner = info.hub_repository.partition("/")[0]
        origin = info.origin or f"https://huggingface.co/{owner}"
        name = "/".join(origin.split("/")[-2:]) if info.origin else owner
        rows.append(
            [
                f"[`{info.tag}`](https://huggingface.co/{info.hub_repository})",
                f"[{name}]({origin})",
                info.license,
                "yes" if info.is_free else "no",
                info.classes or "no classifier",
                f"{complexity(info.variant, **head).parameters / 1e6:.1f}",
            ]
        )
    return _table(columns, rows, text=(0, 1, 2, 3))


def _accuracies_table(family):
    from regnet_tf import Preprocessing

    columns = ["tag", "published by", "shorter side", "square", "interpolation"]
    columns += ["top-1 (%)", "top-5 (%)"]
    rows = []
    for info in _infos(family):
        for entry in info.published:
            size = {name: entry.get(name) for name in ("crop_fraction", "resize_size")}
            shorter = Preprocessing(image_size=entry["image_size"], **size).shorter_side
            row = [f"`{info.tag}`", entry["source"], shorter, entry["image_size"]]
            row += [entry["interpolation"], f"{entry['top1']:.3f}", f"{entry['top5']:.3f}"]
            rows.append(row)
    return _table(columns, rows, text=(0, 1, 4))


def _speeds_of_networks(records):
    """The speeds that stand beside the networks: of the newest record of whole networks.

    Returns:
        Empty where there is none; else "title" of the record, "setting" in words, "modes" (mode ->
        its name) and "variants": key -> mode -> speed.
    """
    for record in records:
        groups = [rows for rows in _settings(record) if rows[0]["output_stride"] is None]
        if groups:
            rows = max(groups, key=len)
            variants = {row["variant"]: row["contenders"][0] for row in rows}
            modes = [name for name in MODES if any(name in row for row in variants.values())]
            setting = _setting(rows[0])
            title = f"{record['machine']}, {record['date']}"
            return {"title": title, "setting": setting, "modes": modes, "variants": variants}
    return {}


def _settings(record):
    """The results of a record, a list for each setting in which networks were measured."""
    groups = {}
    for result in record["results"]:
        setting = ("output_stride", "precision", "batch_size", "image_size")
        groups.setdefault(tuple(result[name] for name in setting), []).append(result)
    return list(groups.values())


def _setting(result):
    what = f"{result['precision']}, batches of {result['batch_size']} images"
    return f"{what} of {result['image_size']} pixels"


def _record_section(record):
    """The machine and the versions, and a table for each setting."""
    versions = [f"{name} {version}" for name, version in record["versions"].items()]
    lines = [
        f"### {record['machine']}, {record['date']}",
        "",
        f"{record['processor']}, {record['threads']} threads; Python {record['python']},"
        f" {', '.join(versions)}; oneDNN: {record['onednn']}.",
        "",
    ]
    for results in _settings(record):
        stride = results[0]["output_stride"]
        what = "Networks" if stride is None else f"Feature maps of levels 2 to 5, stride {stride}"
        lines += [f"{what}, {_setting(results[0])}:", "", _speed_table(results)]
    return "\n".join(lines)


def _speed_table(results):
    from regnet_tf import VARIANTS

    contenders = [{row["name"]: row for row in result["contenders"]} for result in results]
    ours, *peers = dict.fromkeys(name for one in contenders for name in one)
    modes = [mode for mode in MODES if any(mode in one[ours] for one in contenders)]
    columns = ["variant"]
    for mode in modes:
        columns += [f"{MODES[mode]}, images/s", *(f"times {peer}" for peer in peers)]
    rows = []
    for result, one in zip(results, contenders, strict=True):
        row = [VARIANTS[result["variant"]].display_name]
        for mode in modes:
            row.append(_speed(one[ours].get(mode)))
            row += [_ratio(one.get(peer, {}).get(mode)) for peer in peers]
        rows.append(row)
    return _table(columns, rows, text=(0,))


def _speed(speed):
    if speed is None:
        return ""
    return f"{speed['images_per_second']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})"


def _ratio(speed):
    return "" if speed is None else f"{speed['regnet_tf_is_faster_by']:.2f}"


def _table(columns, rows, text):
    """A markdown table; columns are right-aligned, but for those at the places in `text`."""
    rules = ["---" if place in text else "--:" for place in range(len(columns))]
    lines = [columns, rules, *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
