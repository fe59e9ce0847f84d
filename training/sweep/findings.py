"""The findings of an analysis in sentences, from its numbers alone."""

_CERTAIN = 0.05  # p-value below which two distributions count as different
_WIDE = 0.75  # share of the tried range from which a best range tells little
#: Parameter -> symbol, the paper's best value (sections 3.3 and 4), as the paper says it.
PAPER = {
    "total depth": ("depth d", 20, "about 20 blocks in every regime of flops"),
    "width multiplier": ("width multiplier w_m", 2.5, "about 2.5"),
    "bottleneck ratio": ("bottleneck ratio (inner width / width)", 1, "1"),
    "group width": ("group width g", None, "at least 16, growing with the flops"),
}


def findings(facts: dict) -> list[str]:
    """Returns sentences about populations.

    Args:
        facts: the content of `analysis.json`.
    """
    steps = [_step(pair) for pair in facts["kolmogorov_smirnov"] if pair["step"]]
    return [*steps, _best(facts["populations"]), *_ranges(facts["populations"]), _limits(facts)]


def _step(pair):
    a, b, statistic = pair["a"], pair["b"], pair["statistic"]
    difference = pair["median_difference"]
    numbers = (
        f"Kolmogorov-Smirnov statistic {statistic:.2f}, {_p(pair['p_value'])}; difference of the"
        f" medians {100 * difference['value']:+.2f} points, 95 % interval"
        f" {100 * difference['low']:+.2f} to {100 * difference['high']:+.2f}"
    )
    if pair["p_value"] >= _CERTAIN:
        return f"{a} and {b}: these networks do not tell which is better ({numbers})."
    if difference["low"] > 0:
        return f"{a} is better than {b} ({numbers})."
    if difference["high"] < 0:
        return f"{b} is better than {a} ({numbers})."
    return f"{a} and {b} have different distributions, but equal medians are possible ({numbers})."


def _p(value):
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _best(populations):
    least = min(populations, key=lambda one: one["least_error"])
    median = min(populations, key=lambda one: one["median_error"])
    return (
        f"The least error is {least['least_error']:.2%}, in {least['name']}. The least median is"
        f" {median['median_error']:.2%}, in {median['name']}."
    )


def _ranges(populations):
    """Yields a sentence for each parameter of the paper and each population that varies it."""
    for parameter, (name, value, claim) in PAPER.items():
        for one in populations:
            found = one["best_ranges"].get(parameter)
            if found is not None:
                yield _range(one["name"], name, value, claim, found)


def _range(population, name, value, claim, found):
    low, high = found["low"], found["high"]
    text = f"{population}: the best {name} is {low:.4g} to {high:.4g}"
    tried = f"{found['least']:.4g} to {found['greatest']:.4g}"
    if high - low >= _WIDE * (found["greatest"] - found["least"]):
        return (
            f"{text}, nearly all of the tried {tried}: this many networks cannot tell it."
            f" The paper: {claim}."
        )
    text = f"{text}, of the tried {tried}. The paper: {claim}"
    if value is None:
        return f"{text}."
    if not found["least"] <= value <= found["greatest"]:
        return f"{text}, which these networks did not try."
    return f"{text}, which {'agrees' if low <= value <= high else 'differs'}."


def _limits(facts):
    counts = sorted({one["networks"] for one in facts["populations"]})
    counts = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return (
        f"The populations have {counts} networks each, the paper's 100 to 500. Each network was"
        " trained once, so its error includes the chance of its seed."
    )
