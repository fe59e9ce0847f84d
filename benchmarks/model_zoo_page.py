"""The page of all networks: costs, published weights and accuracies, recorded speeds."""

import json
from importlib import resources

from regnet_tf import VARIANTS, Preprocessing, complexity, list_weights, weights_info
from regnet_tf._markdown import COST_COLUMNS, cost_cells, markdown_table
from regnet_tf.published import IMAGENET, PUBLISHED_SETS, best_weights

FAMILIES = ("RegNetX", "RegNetY", "RegNetV", "RegNetZ")
MODES = {"train": "training", "forward": "inference"}

_HEAD = """\
# Model zoo

All networks that `regnet_tf` knows by name. `python -m benchmarks.model_zoo` writes this page.

[`complexity`][regnet_tf.complexity] counts parameters, multiply-adds and activations, for 1000
classes and 224 pixels unless a table says otherwise. For the 24 variants of the paper, the counts
equal those of its authors' code, [pycls](https://github.com/facebookresearch/pycls). The
literature calls multiply-adds flops.
**This project did not measure the accuracies.** They are in percent, on ImageNet-1k, as published
by the named source.
"""

_NETWORKS = """\
## Networks

Top-1 is the best published accuracy of the weights that `weights="imagenet"` loads. All accuracies
are [below](#published-accuracies).
"""

_SPEED_COLUMNS = """
Images/s are this project's, of the record "{title}", {setting}: see [speed](#speed).
"""

_STRUCTURE = """\
## Structure

The numbers of the width generator (depth d, initial width w_0, slope w_a, multiplier w_m, group
width g), and the stages that it makes of them. `build_regnet` and `get_config` take the key, which
is timm's, and [many other names](reference/configurations.md#configurations). Variants in `-tv`
have torchvision's rounding of widths; `-sgn` has group normalization and SiLU, `-evos` EvoNorm-S0.
Networks without these numbers have their stages given one by one, as in timm's `byobnet.py`.
"""

_WEIGHTS = """\
## Published weights

{about}

[`weights="TAG"`](reference/models.md#any-network) loads them. `weights="imagenet"` loads only
weights of 1000 classes with a licence that allows commercial use.
"""

_ACCURACIES = """\
These are accuracies on ImageNet-1k's validation set, as published by the source. This project did
not measure them. Measure them with
[`regnet evaluate --compare-published`](commands.md#regnet.evaluate). The tables say to how many
pixels the shorter side of an image is resized. The network sees the square in its middle.
"""

_OTHER_SETS = """\
Top-1 accuracies in percent on other test sets, as published by the source, for the largest square
of the tables above. Read the sets' own pages for what they are:
[ImageNet-ReaL](https://github.com/google-research/reassessed-imagenet),
[ImageNetV2](https://github.com/modestyachts/ImageNetV2) (matched frequency),
[ImageNet-A](https://github.com/hendrycks/natural-adv-examples),
[ImageNet-R](https://github.com/hendrycks/imagenet-r) and
[ImageNet-Sketch](https://github.com/HaohanWang/ImageNet-Sketch). In ImageNet-ReaL any one of an
image's labels is right. On ImageNet-A and ImageNet-R, only the scores of their 200 classes count.
[Evaluation](guides/training.md#other-test-sets-of-imagenet) says how to measure them.
"""

_SPEED = """\
## Speed

Images per second as `regnet benchmark` measured them: the median of the turns, in
parentheses the slowest and the fastest. "Times" another implementation: this project's speed over
that of the other in the same process, the median of the ratios turn by turn.
"""


def page(records: list[dict]) -> str:
    """Returns the page as markdown.

    Args:
        records: return value of `benchmarks.model_zoo.read_records`.
    """
    parts = [_HEAD, _NETWORKS]
    speeds = _speeds_of_networks(records)
    if speeds:
        parts[-1] += _SPEED_COLUMNS.format(**speeds)
    for family in FAMILIES:
        parts.append(f"### {family}\n\n{_networks_table(family, speeds)}\n")
    parts.append(_STRUCTURE)
    for family in FAMILIES:
        parts.append(f"### Structure of {family}\n\n{_structure_table(family)}\n")
    parts.append(_WEIGHTS.format(about=_about()))
    for family in FAMILIES:
        parts.append(f"### Weights of {family}\n\n{_weights_table(family)}\n")
    parts.append(f"## Published accuracies\n\n{_ACCURACIES}")
    for family in FAMILIES:
        parts.append(f"### Accuracies of {family}\n\n{_accuracies_table(family)}\n")
    parts.append(f"## Other test sets\n\n{_OTHER_SETS}")
    for family in FAMILIES:
        parts.append(f"### {family} on other test sets\n\n{_other_sets_table(family)}\n")
    if records:
        parts += [_SPEED, *map(_record_section, records)]
    return "\n".join(parts)


def _variants(family):
    """Returns the variants of a family: key -> row."""
    return {key: row for key, row in VARIANTS.items() if row.display_name.startswith(family)}


def _infos(family):
    """Returns the published weights of a family."""
    return [weights_info(tag) for tag in list_weights(f"{family.lower()}_*")]


def _networks_table(family, speeds):
    columns = ["variant", *COST_COLUMNS, "top-1 (%)", "published by, pixels", "weights"]
    columns += [f"{MODES[mode]}, images/s" for mode in speeds.get("modes", ())]
    rows = []
    for key, variant in _variants(family).items():
        costs = cost_cells(complexity(variant.config))
        row = [variant.display_name, *costs, *_best_accuracy(key)]
        measured = speeds.get("variants", {}).get(key, {})
        for mode in speeds.get("modes", ()):
            row.append(f"{measured[mode]['images_per_second']:.1f}" if mode in measured else "")
        rows.append(row)
    return markdown_table(columns, rows, left=(0, 5, 6))


def _best_accuracy(key):
    """Returns top-1, source and tag of `weights="imagenet"`; empty texts if it has none."""
    try:
        info = weights_info(best_weights(key))
    except ValueError:
        return "", "", ""
    best = info.best_accuracy()
    if best is None:
        return "", "", f"`{info.tag}`"
    return f"{best['top1']:.2f}", f"{best['source']}, {best['image_size']}", f"`{info.tag}`"


def _structure_table(family):
    columns = ["variant", "key", "d", "w_0", "w_a", "w_m", "g", "widths of the stages"]
    columns += ["depths", "group widths"]
    rows = []
    for key, variant in _variants(family).items():
        stages = variant.config.stages
        numbers = ("" if number is None else number for number in variant[1:6])
        rows.append([variant.display_name, f"`{key}`", *numbers])
        for field in ("width", "depth", "group_width"):
            rows[-1].append(", ".join(str(getattr(stage, field)) for stage in stages))
    return markdown_table(columns, rows, left=(0, 1, 7, 8, 9))


def _about():
    """Returns the text about the sources of the published weights."""
    rows = json.loads(resources.files("regnet_tf").joinpath("data/weights.json").read_text())
    return rows["_about"]


def _weights_table(family):
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
                info.licence,
                "yes" if info.is_free else "no",
                info.classes or "no head",
                f"{complexity(info.variant, **head).parameters / 1e6:.1f}",
            ]
        )
    return markdown_table(columns, rows, left=(0, 1, 2, 3))


def _accuracies_table(family):
    columns = ["tag", "published by", "shorter side", "square", "interpolation"]
    columns += ["top-1 (%)", "top-5 (%)"]
    rows = []
    for info in _infos(family):
        for entry in info.accuracies():
            size = {name: entry.get(name) for name in ("crop_fraction", "resize_size")}
            shorter = Preprocessing(image_size=entry["image_size"], **size).shorter_side
            row = [f"`{info.tag}`", entry["source"], shorter, entry["image_size"]]
            row += [entry["interpolation"], f"{entry['top1']:.3f}", f"{entry['top5']:.3f}"]
            rows.append(row)
    return markdown_table(columns, rows, left=(0, 1, 4))


def _other_sets_table(family):
    names = [name for name in PUBLISHED_SETS if name != IMAGENET]
    columns = ["tag", "published by, pixels", *(PUBLISHED_SETS[name].title for name in names)]
    rows = []
    for info in _infos(family):
        bests = [info.best_accuracy(name) for name in names]
        known = [best for best in bests if best is not None]
        if known:
            by = f"{known[0]['source']}, {known[0]['image_size']}"
            cells = ("" if best is None else f"{best['top1']:.3f}" for best in bests)
            rows.append([f"`{info.tag}`", by, *cells])
    return markdown_table(columns, rows, left=(0, 1))


def _speeds_of_networks(records):
    """Returns the speeds for the table of networks, from the newest record of whole networks.

    Returns:
        Dict with the "title" of the record, the "setting" in words, "modes" (a list) and
        "variants": key -> mode -> speed. Empty if there is no record.
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
    """Returns the results of a record, one list per setting of the measurements."""
    groups: dict[tuple, list[dict]] = {}
    for result in record["results"]:
        setting = ("output_stride", "precision", "batch_size", "image_size")
        groups.setdefault(tuple(result[name] for name in setting), []).append(result)
    return list(groups.values())


def _setting(result):
    what = f"{result['precision']}, batches of {result['batch_size']} images"
    return f"{what} of {result['image_size']} pixels"


def _record_section(record):
    """Returns the section of a record: machine, versions, and one table per setting."""
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
        lines += [f"{what}, {_setting(results[0])}:", "", _speed_table(results), ""]
    return "\n".join(lines)


def _speed_table(results):
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
    return markdown_table(columns, rows, left=(0,))


def _speed(speed):
    if speed is None:
        return ""
    return f"{speed['images_per_second']:.1f} ({speed['min']:.1f} to {speed['max']:.1f})"


def _ratio(speed):
    return "" if speed is None else f"{speed['regnet_tf_is_faster_by']:.2f}"
