"""Analyses of made-up populations whose truth is known, and the page that shows them."""

import base64
import html
import html.parser
import io
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest
from browsers import chromium

from regnet_tf import RegNetConfig, StageConfig, get_config
from training.sweep.command import main
from training.sweep.findings import findings
from training.sweep.naming import title
from training.sweep.network import result_of
from training.sweep.page import page
from training.sweep.populations import matching_weights, read_populations
from training.sweep.results import claim, population_results
from training.sweep.running import tasks_of
from training.sweep.specification import load_specification
from training.sweep.statistics import pair_facts, population_facts

BEST_DEPTH = 9
FIELDS = ("width", "depth")


def write_population(folder, name, error_of, failures=0):
    """A population whose errors follow from the networks, as `run` leaves it."""
    specification, folder = load_specification(name), folder / name
    folder.mkdir()
    claim(folder, specification)
    with population_results(folder).writing() as append:
        for number, task in enumerate(tasks_of(specification)):
            error = error_of(RegNetConfig.from_dict(task["config"]))
            failure = "ValueError: no" if number < failures else None
            append(result_of(task, [] if failure else [0.05, error], failure, 1.0))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("populations")
    near = {"digits_regnetx": (0.1, 1), "digits_anynetx_a": (0.5, 2)}
    return [
        write_population(
            folder, name, lambda c, e=least: e + 0.01 * abs(c.total_depth - BEST_DEPTH), failures
        )
        for name, (least, failures) in near.items()
    ]


@pytest.fixture(scope="module")
def analysis(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis")
    assert main(["analyze", *map(str, folders), "--out", str(out), "--best", "2"]) == 0
    return out


def test_numbers(analysis, folders):
    facts = json.loads((analysis / "analysis.json").read_text())
    ours, theirs = facts["populations"]
    assert (ours["networks"], ours["failed"]) == (47, 1)
    assert (theirs["networks"], theirs["failed"]) == (46, 2)
    # All errors of the one are below all of the other.
    (pair,) = facts["kolmogorov_smirnov"]
    assert pair["statistic"] == pair["weighted"] == 1
    depth = ours["best_ranges"]["total depth"]
    assert depth["low"] <= BEST_DEPTH <= depth["high"] and depth["high"] - depth["low"] <= 5
    errors = read_populations(folders)[0].errors
    assert ours["mean_error"] == pytest.approx(np.mean(errors))
    assert ours["least_error"] == min(errors)


def test_least_error_of_all_epochs(folders, tmp_path):
    assert set(read_populations(folders, "least")[0].errors) == {0.05}


def test_best_networks(analysis, folders):
    best = json.loads((analysis / "best.json").read_text())
    assert [model["population"] for model in best] == ["RegNetX, digits"] * 2 + [
        "AnyNetX_A, digits"
    ] * 2
    configs = [RegNetConfig.from_dict(model["config"]) for model in best]
    errors = read_populations(folders)[0].errors
    assert [model["error"] for model in best[:2]] == sorted(errors)[:2]
    for model, config in zip(best, configs, strict=True):
        assert config.identity == model["identity"]
        least = 0.1 if config.explicit_stages is None else 0.5
        expected = least + 0.01 * abs(config.total_depth - BEST_DEPTH)
        assert model["error"] == pytest.approx(expected)
        assert get_config(str(analysis / model["file"])) == config


def test_names_of_networks():
    generated = RegNetConfig(
        depth=13, initial_width=40, width_slope=11.5, width_multiplier=2.006, group_width=16,
        bottleneck_ratio=0.5, stem_stride=1,
    )  # fmt: skip
    widths, depths = ("-".join(str(getattr(s, k)) for s in generated.stages) for k in FIELDS)
    assert title(generated) == (
        f"d 13, w_0 40, w_a 11.5, w_m 2.006, g 16, b 2; widths {widths}, depths {depths}"
    )
    stages = (StageConfig(16, 1, 8), StageConfig(32, 4, 16, bottleneck_ratio=0.5))
    given = RegNetConfig(explicit_stages=stages)
    assert title(given) == "g 8-16, b 1-2; widths 16-32, depths 1-4"


def test_findings(analysis):
    facts = json.loads((analysis / "analysis.json").read_text())
    text = "\n".join(facts["findings"])
    assert "RegNetX, digits is better than AnyNetX_A, digits" in text and "p < 0.001" in text
    assert re.search(r"Best depth d \(95 %\): \d+ to \d+ of the tried \d+ to \d+, in ", text)
    assert "the narrowest of 2 ranges. The paper: about 20 blocks" in text
    assert "No network tried the paper's value: RegNetX, digits" in text
    page_text = (analysis / "index.html").read_text()
    assert all(html.escape(one) in page_text for one in facts["findings"])


def test_findings_of_equal_populations(folders):
    (same, _) = read_populations(folders)
    weights = [np.full(len(same), 1 / len(same))] * 2
    (pair,) = pair_facts([same, same], weights, seed=0)
    assert pair["step"] and pair["statistic"] == 0 and pair["p_value"] == 1
    facts = population_facts(same, weights[0], seed=0)
    facts["best_ranges"]["width multiplier"] |= {"low": 2, "high": 3, "least": 2, "greatest": 3}
    text = "\n".join(findings({"kolmogorov_smirnov": [pair], "populations": [facts, facts]}))
    assert "do not tell which is better" in text
    assert "multiplier w_m (95 %): 2 to 3 of the tried 2 to 3, in RegNetX, digits. The" in text
    assert "cannot tell it: RegNetX, digits" in text


def test_findings_of_many_populations():
    """A sentence has the range that tells most, and names no more than three populations."""
    tried = {"least": 2, "greatest": 22}
    ranges = {"A": (2, 20), "B": (2, 12), "C": (4, 8), "D": (3, 9), "E": (3, 10), "F": (2, 9)}
    populations = [
        {
            "name": name,
            "networks": 40,
            "least_error": 0.1,
            "median_error": 0.2,
            "best_ranges": {"total depth": {"low": low, "high": high, **tried}},
        }
        for name, (low, high) in ranges.items()
    ]
    depth = findings({"kolmogorov_smirnov": [], "populations": populations})[1]
    assert depth == (
        "Best depth d (95 %): 4 to 8 of the tried 2 to 22, in C, the narrowest of 6 ranges. The"
        " paper: about 20 blocks in every regime of flops. Nearly all that was tried may be best,"
        " so this many networks cannot tell it: A. This differs from the paper: 5 of 6 populations."
    )


def test_columns(folders):
    generated, free = read_populations(folders)
    assert "width slope" in generated.parameters
    assert "bottleneck ratio" not in generated.parameters  # it is 1 in all of RegNetX
    assert {"width 1", "depth 3", "error of the linear fit"} <= set(free.parameters)
    depths = [sum(stage.depth for stage in config.stages) for config in free.configs]
    np.testing.assert_array_equal(free.parameters["total depth"], depths)


def test_weights_match_flops(folders):
    populations = read_populations(folders)
    weights = matching_weights(populations)
    edges = np.quantile(np.concatenate([p.costs["flops"] for p in populations]), (0, 0.5, 1))
    shares = [
        np.histogram(one.costs["flops"], edges, weights=weight)[0]
        for one, weight in zip(populations, weights, strict=True)
    ]
    plain = [np.histogram(one.costs["flops"], edges)[0] / len(one) for one in populations]
    assert np.abs(np.subtract(*shares)).max() < 1e-9 + np.abs(np.subtract(*plain)).max()
    for weight in weights:
        assert weight.sum() == pytest.approx(1)


class Page(html.parser.HTMLParser):
    """Collects the pictures of a page, what it refers to, and tags that were not closed."""

    def __init__(self, text):
        super().__init__()
        self.images, self.references, self.open, self.cells = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.references += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["td"]:
            self.cells.append(data)


def test_page(analysis):
    text = (analysis / "index.html").read_text()
    parsed = Page(text)
    pictures = sorted(path.name for path in analysis.glob("*.png"))
    assert parsed.open == [] and len(parsed.images) == len(pictures) == 10
    assert all(reference.startswith("data:") for reference in parsed.references)
    assert "<script" not in text and "prefers-color-scheme: dark" in text
    contents = set()
    for image in parsed.images:
        assert len(image["alt"]) > 20
        content = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        PIL.Image.open(io.BytesIO(content)).verify()
        contents.add(content)
    assert contents == {(analysis / name).read_bytes() for name in pictures}
    assert "1.000" in parsed.cells and "RegNetX, digits" in parsed.cells


def test_page_escapes_names(analysis):
    facts = json.loads((analysis / "analysis.json").read_text())
    facts["populations"][0]["name"] = "<b>&"
    best = json.loads((analysis / "best.json").read_text())
    names = {path.name: '"><script>' for path in analysis.glob("*.png")}
    text = page(facts, best, names, analysis)
    assert "<script" not in text and "<b>" not in text and "&lt;b&gt;&amp;" in text


@pytest.mark.browser
def test_page_in_a_browser(analysis, tmp_path):
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}", f"--screenshot={tmp_path / 'page.png'}",
        (analysis / "index.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "CONSOLE" not in done.stderr, done.stderr
    assert PIL.Image.open(tmp_path / "page.png").getextrema() != ((255, 255),) * 3


STUDY = pathlib.Path(__file__).parents[1] / "docs" / "study"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in STUDY.glob("*/spec.json")))
def test_recorded_networks_are_those_of_built_in_populations(name):
    (population,) = read_populations([STUDY / name])
    assert population.specification == load_specification(name)
    drawn = {config.identity for config in population.specification.sample(10)}
    recorded = {config.identity for config in population.configs}
    assert recorded <= drawn and len(recorded) == len(population)


def test_what_can_not_be_analyzed(tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["analyze", str(tmp_path), "--out", out]) == 2
    assert "no population" in capsys.readouterr().err
    specification = load_specification("digits_regnetx")
    claim(tmp_path, specification)
    assert main(["analyze", str(tmp_path), "--out", out]) == 2
    assert "0 trained networks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("spec.json", lambda text: "[1]", "spec.json is damaged: it holds no JSON object"),
        ("spec.json", lambda text: text[:40], "spec.json is damaged: "),
        (  # as before recipes had parts
            "spec.json",
            lambda text: text.replace("schedule.epochs", "epochs"),
            "spec.json: `epochs` is no field of a recipe. Nearest: schedule.epochs.",
        ),
        ("results.jsonl", lambda text: "{}\n", "results.jsonl, line 1, is damaged: it lacks check"),
        (
            "results.jsonl",
            lambda text: text.replace('"final_error": 0.', '"final_error": 0.0', 1),
            "results.jsonl, line 2, is damaged: its check does not fit. Delete the line to get",
        ),
        (
            "results.jsonl",
            lambda text: text.replace('"stride": 2', '"stride": 2e0', 3),
            "results.jsonl, line 1, is damaged: its check does not fit. Delete the line to get",
        ),
    ],
)
def test_damaged_populations(file, damage, message, folders, tmp_path, capsys):
    folder = shutil.copytree(folders[0], tmp_path / "population")
    path = folder / file
    path.write_text(damage(path.read_text()))
    assert main(["analyze", str(folder), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1
