"""The page of a comparison on a GPU."""

from regnet_tf._markdown import markdown_table
from regnet_tf.variants import get_config

from .contenders import PARTS, PEERS

_MISSING = "-"


def markdown(report: dict) -> str:
    """Returns the report as a markdown page.

    Args:
        report: the content of `comparison.json`.
    """
    machine = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    parts = [
        f"# RegNets on {machine['device']}",
        table(report["results"]),
        *_failures(report["results"]),
        _about(report["settings"]),
        f"{machine['processor']}, {machine['cores']} cores,"
        f" {machine['system']}. Python {machine['python']}, {versions}.",
        _contenders_table(report["contenders"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(results: list[dict]) -> str:
    """Returns the medians, their ranges and the ratios as a markdown table.

    Args:
        results: list of dicts from `turns.measure`.
    """
    rows = [row for result in results for row in result["rows"]]
    parts = [part for part in PARTS if any(part in row for row in rows)]
    peers = [peer for peer in PEERS if any(row["contender"] == peer for row in rows)]
    headings = ["network", "precision", "batch", "contender"]
    for part in parts:
        headings += [f"{part} (images/s)", *(f"times {peer}" for peer in peers)]
        headings.append(f"first step of {part} (s)")
    if "training" in parts:
        headings.append("training memory (MiB)")
    cells = []
    for result in results:
        name = get_config(result["variant"]).name
        for row in result["rows"]:
            cells.append([name, result["precision"], result["batch_size"], row["contender"]])
            for part in parts:
                cells[-1] += _speed_cells(row.get(part), peers)
            if "training" in parts:
                cells[-1].append(_number(row.get("memory_mib"), 0))
    return markdown_table(headings, cells, left=(0, 1, 3))


def _speed_cells(speed, peers):
    if speed is None:
        return [_MISSING] * (len(peers) + 2)
    turns = speed["turns"]
    text = f"{speed['images_per_second']:,.0f} ({min(turns):,.0f} to {max(turns):,.0f})"
    ratios = (_number(speed["times"].get(peer), 2) for peer in peers)
    return [text, *ratios, _number(speed["first_seconds"], 1)]


def _number(value, digits):
    return _MISSING if value is None else f"{value:,.{digits}f}"


def _failures(results):
    """Returns a markdown list of what failed, in a list; an empty list if nothing did."""
    lines = [
        f"- {get_config(result['variant']).name}, {result['precision']},"
        f" {row['contender']}: {row['failed']}"
        for result in results
        for row in result["rows"]
        if "failed" in row
    ]
    return ["\n".join(lines)] if lines else []


def _about(settings):
    return (
        f"Images have {settings['image_size']} pixels. They are random and already on the GPU."
        " Training is SGD with Nesterov's momentum on the cross entropy of logits. Each step waits"
        " for its loss or its logits. `float32` allows TensorFloat-32 in convolutions and matrix"
        " products, for every contender. PyTorch selects the fastest convolution"
        " (`torch.backends.cudnn.benchmark`). Every contender is a process that builds its network"
        f" once. Then the contenders take {settings['repeats']} turns of"
        f" {settings['seconds']:g} s. A speed is the median (least to greatest) of the turns, and"
        ' "times" is the median of the ratios turn by turn: above 1, the contender is faster.'
        " The first step includes compilation. Memory is the peak of the framework's allocator in"
        " training. JAX counts it from the start of the process, with the search for the fastest"
        " convolutions."
    )


def _contenders_table(contenders):
    rows = [[one["name"], one["how"]] for one in contenders]
    return markdown_table(["contender", "how"], rows, left=(0, 1))
