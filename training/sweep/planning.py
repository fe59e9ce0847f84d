"""Describes a population as text, for a dry run."""

import numpy as np

from .specification import COSTS, Specification


def plan(specification: Specification, data_dir: str | None = None) -> str:
    """Returns a text: number of networks, training, ranges of costs, and a table of stages.

    Args:
        specification: a `Specification`.
        data_dir: data directory of tensorflow-datasets.
    """
    data = specification.load_data(data_dir)
    classes = len(data.class_names)
    configs = specification.sample(classes)
    costs = [specification.complexity(config, classes) for config in configs]
    recipe, space = specification.recipe_of(configs[0]), specification.design_space
    schedule = recipe.schedule
    lines = [
        f"{specification.name}: {len(configs)} networks of {space.name}"
        f" ({space.degrees_of_freedom} degrees of freedom, {space.size:.1e} settings)",
        f"{data.name}: {data.train.size:,} images of {recipe.images.size} pixels to train on in"
        f" {schedule.epochs} epochs of batches of {schedule.batch_size}, {data.test.size:,} to test"
        " with",
    ]
    for name in COSTS:
        values = [cost[name] for cost in costs]
        lines.append(f"{name}: {min(values):,} to {max(values):,}, mean {np.mean(values):,.0f}")
    return "\n".join([*lines, "", *_table(configs, costs)])


def _table(configs, costs):
    """Returns a table with one line per network."""
    heads = ("identity", "flops", "depths", "widths", "group widths", "bottleneck ratios")
    fields = ("depth", "width", "group_width", "bottleneck_ratio")
    rows = [heads]
    for config, cost in zip(configs, costs, strict=True):
        columns = (" ".join(f"{getattr(s, f):g}" for s in config.stages) for f in fields)
        rows.append((config.identity, f"{cost['flops']:,}", *columns))
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip()
        for row in rows
    ]
