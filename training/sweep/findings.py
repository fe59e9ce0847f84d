"""The findings of an analysis in sentences, from its numbers alone."""

_CERTAIN = 0.05  # p-value below which two distributions count as different
_WIDE = 0.75  # share of the tried range from which a best range tells little
_NAMED = 3  # most populations that a sentence names; the page has a table for each
#: Parameter -> symbol, the paper's best value (sections 3.3 and 4), as the paper says it.
PAPER = {
    "total depth": ("depth d", 20, "about 20 blocks in every regime of flops"),
    "width multiplier": ("width multiplier w_m", 2.5, "about 2.5"),
    "bottleneck ratio": ("bottleneck ratio (inner width / width)", 1, "1"),
    "group width": ("group width g", None, "above 1, growing with the flops"),
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
    """Yields the sentences about each parameter of the paper."""
    for parameter, (name, value, claim) in PAPER.items():
        found = {
            one["name"]: one["best_ranges"][parameter]
            for one in populations
            if parameter in one["best_ranges"]
        }
        if found:
            verdict = _verdict(found, value)
            yield f"Best {name} (95 %): {_narrowest(found)}. The paper: {claim}.{verdict}"


def _narrowest(found):
    """Returns the range that tells most, with its population."""
    who, one = min(found.items(), key=lambda item: _share(item[1]))
    low, high, least, greatest = (one[k] for k in ("low", "high", "least", "greatest"))
    of = f", the narrowest of {len(found)} ranges" if len(found) > 1 else ""
    return f"{low:.4g} to {high:.4g} of the tried {least:.4g} to {greatest:.4g}, in {who}{of}"


def _share(one):
    """Returns the share of the tried range that a best range covers."""
    tried = one["greatest"] - one["least"]
    return (one["high"] - one["low"]) / tried if tried else 1.0


def _verdict(found, value):
    """Returns sentences on what these ranges tell, and how they agree with the paper's value."""
    told: dict[str, list[str]] = {}
    for who, one in found.items():
        told.setdefault(_outcome(one, value), []).append(who)
    texts = {
        "wide": "Nearly all that was tried may be best, so this many networks cannot tell it: {}.",
        "untried": "No network tried the paper's value: {}.",
        "agrees": "This agrees with the paper: {}.",
        "differs": "This differs from the paper: {}.",
    }
    return "".join(
        f" {text.format(_listed(told[key], len(found)))}"
        for key, text in texts.items()
        if key in told
    )


def _listed(names, count):
    """Returns the names of a few of `count` populations, or the number of many."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{'all' if len(names) == count else f'{len(names)} of'} {count} populations"


def _outcome(one, value):
    if _share(one) >= _WIDE:
        return "wide"
    if value is None:
        return "open"
    if not one["least"] <= value <= one["greatest"]:
        return "untried"
    return "agrees" if one["low"] <= value <= one["high"] else "differs"


def _limits(facts):
    counts = [one["networks"] for one in facts["populations"]]
    span = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else str(counts[0])
    return (
        f"The populations have {span} networks each, the paper's 100 to 500. Each network was"
        " trained once, so its error includes the chance of its seed."
    )
