"""Names of networks for readers: their generator's numbers, widths and depths."""

from regnet_tf import RegNetConfig

_SYMBOLS = {
    "depth": "d", "initial_width": "w_0", "width_slope": "w_a", "width_multiplier": "w_m",
    "group_width": "g",
}  # fmt: skip


def title(config: RegNetConfig) -> str:
    """Returns the numbers that make a network, then its stages.

    The bottleneck ratio b is the paper's, width / inner width.
    """
    return f"{numbers(config)}; {shape(config)}"


def numbers(config: RegNetConfig) -> str:
    """Returns the generator's numbers; group widths and ratios of stages that are given."""
    if config.explicit_stages is None:
        texts = [f"{sign} {getattr(config, field):g}" for field, sign in _SYMBOLS.items()]
        return ", ".join([*texts, f"b {1 / config.bottleneck_ratio:g}"])
    groups = [stage.group_width for stage in config.stages]
    ratios = [1 / stage.bottleneck_ratio for stage in config.stages]
    return f"g {_joined(groups)}, b {_joined(ratios)}"


def shape(config: RegNetConfig) -> str:
    """Returns the widths and depths of the stages, such as "widths 24-56-152, depths 1-1-4"."""
    widths, depths = ([getattr(s, field) for s in config.stages] for field in ("width", "depth"))
    return f"widths {'-'.join(map(str, widths))}, depths {'-'.join(map(str, depths))}"


def _joined(values):
    """Returns the values of the stages; one of them if all are equal."""
    values = values[:1] if len(set(values)) == 1 else values
    return "-".join(f"{value:g}" for value in values)
