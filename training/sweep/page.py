"""The page of an analysis: a single HTML file without scripts or external resources."""

import base64
from html import escape
from pathlib import Path

_STYLE = """\
:root { color-scheme: light dark; --line: #d0d0d0; --paper: #ffffff; --ink: #222222; }
@media (prefers-color-scheme: dark) { :root { --line: #444; --paper: #1b1b1d; --ink: #e6e6e6; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 75rem;
  background: var(--paper); color: var(--ink); }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
figure { margin: 1rem 0; }
figcaption { font-size: 0.9rem; opacity: 0.8; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.5rem 0; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
"""
_OVERVIEW = ("networks", "failed")
_ERRORS = ("least_error", "median_error", "mean_error", "weighted_mean_error")


def page(facts: dict, best: dict, pictures: dict[str, str], folder: Path) -> str:
    """Returns the page as HTML.

    Args:
        facts: the content of `analysis.json`.
        best: the content of `best.json`.
        pictures: file name -> caption.
        folder: folder of the pictures, a `Path`.
    """
    populations = facts["populations"]
    shown = {name: _figure(folder / name, text) for name, text in pictures.items()}
    parts = ["<h1>Populations of networks</h1>", _findings(facts), _overview(populations)]
    if facts["kolmogorov_smirnov"]:
        parts += ["<h2>Step by step</h2>", shown.pop("steps.png")]
        parts.append(_statistics(facts["kolmogorov_smirnov"]))
    parts += ["<h2>All populations</h2>", shown.pop("distributions.png"), shown.pop("search.png")]
    parts += [shown.pop("complexity.png"), "<h2>The best values</h2>", shown.pop("best_values.png")]
    parts += ["<h2>Linear fits</h2>", shown.pop("fits.png")]
    parts += ["<h2>The best networks</h2>", _best(best), _conditions(populations)]
    for number, population in enumerate(populations, start=1):
        parts += [
            f"<h2>{escape(population['name'])}</h2>",
            shown.pop(f"parameters_{number}.png"),
            _ranges(population["best_ranges"]),
            shown.pop(f"networks_{number}.png"),
        ]
    return _document("\n".join(parts))


def _findings(facts):
    items = "\n".join(f"<li>{escape(text)}</li>" for text in facts["findings"])
    return f"<h2>Findings</h2>\n<ul>\n{items}\n</ul>"


def _conditions(populations):
    """Returns how the populations were trained: data, epochs, seeds, time, code."""
    fields = [field for field in populations[0]["conditions"]]
    rows = [(one["name"], *(_cell(one["conditions"][k]) for k in fields)) for one in populations]
    return _table("How the networks were trained", ("population", *map(_words, fields)), rows)


def _cell(value):
    value = ", ".join(value) if isinstance(value, list) else value
    return "not recorded" if value == "" else "all" if value is None else value


def _document(body):
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Populations of networks</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _overview(populations):
    heads = ("population", "space", *map(_words, _OVERVIEW + _ERRORS))
    rows = [
        (
            one["name"],
            one["space"],
            *(one[k] for k in _OVERVIEW),
            *(f"{one[k]:.2%}" for k in _ERRORS),
        )
        for one in populations
    ]
    return _table("Test errors; weighted so that the flops of all populations match", heads, rows)


def _statistics(pairs):
    rows = [
        (p["a"], p["b"], f"{p['statistic']:.3f}", f"{p['weighted']:.3f}", _p_value(p["p_value"]))
        for p in pairs
        if p["step"]
    ]
    title = "Kolmogorov-Smirnov statistic, the greatest difference; analysis.json has all pairs"
    return _table(title, ("population", "and", "as they are", "weighted", "p-value"), rows)


def _p_value(value):
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _best(best):
    rows = []
    for model in best:
        costs = (f"{count:,}" for count in model["complexity"].values())
        rows.append(
            (model["population"], model["network"], f"{model['error']:.2%}", *costs, model["file"])
        )
    heads = ("population", "network", "error", *(best[0]["complexity"]), "file")
    title = "The best networks; --variant takes their files; b is the paper's, width / inner width"
    return _table(title, heads, rows)


def _ranges(ranges):
    rows = [
        (name, *(_number(band[end]) for end in ("low", "median", "high", "least", "greatest")))
        for name, band in ranges.items()
    ]
    heads = ("parameter", "low", "median", "high", "least tried", "greatest tried")
    return _table("Where the best value lies, by the empirical bootstrap (95 %)", heads, rows)


def _number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _table(title, heads, rows):
    head = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table>\n<caption>{escape(title)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _figure(path, text):
    """Returns the HTML of a picture, embedded in the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    alt = escape(text, quote=True)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{alt}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _words(field):
    return field.replace("_", " ")
