"""`regnet show`: its table against `complexity`, its picture with Pillow."""

import json

import numpy as np
import pytest
from PIL import Image
from regnet_command import main
from regnet_command.network_table import stage_table
from regnet_command.search_options import parse_count, parse_flops, parse_setting

from regnet_tf import RegNetConfig, StageConfig, build_regnet, complexity, get_config
from regnet_tf._errors import UserError
from regnet_tf.costs import complexity_by_part
from regnet_tf.variants import variant_or_file
from regnet_tf.width_plot import draw_widths

NUMBERS = {
    "depth": 16,
    "initial-width": 48,
    "width-slope": 27.89,
    "width-multiplier": 2.09,
    "group-width": 8,
    "se-ratio": 0.25,
}


def table_rows(text):
    """Cells of the table's lines, by their first column."""
    lines = [line.split() for line in text.splitlines() if line]
    rows = {}
    for cells in lines:
        name = " ".join(cells[:2]) if cells[0] == "stage" else cells[0]
        rows[name] = [cell.replace(",", "") for cell in cells[len(name.split()) :]]
    return rows


def as_options(numbers):
    return [text for name, value in numbers.items() for text in (f"--{name}", str(value))]


def check_picture(path):
    """A picture with the line, the blocks and the stages in their colours."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"), int).reshape(-1, 3)
    assert len(pixels) > 300_000
    for color in ((31, 95, 168), (245, 215, 186), (102, 102, 102)):
        near = np.abs(pixels - color).max(axis=1) < 12
        assert near.sum() > 200, color


def test_table_and_picture_of_a_name(tmp_path, capsys):
    out = tmp_path / "new" / "widths.png"
    images = ["--image-size", "160", "--channels", "1"]
    main(["show", "RegNetX-400MF", "--out", str(out), *images, "--classes", "10"])
    text = capsys.readouterr().out
    assert text.startswith("RegNetX-400MF at 160 pixels\n") and f"Widths: {out}" in text
    check_picture(out)
    rows = table_rows(text)
    config = get_config("regnetx_004")
    parts = complexity_by_part(config, 160, classes=10)
    for number, (stage, pixels) in enumerate(zip(config.stages, (40, 20, 10, 5), strict=True), 1):
        cost = parts[f"stage_{number}"]
        expected = [stage.width, stage.depth, stage.group_width, stage.groups, 1, 2, pixels]
        expected += [cost.parameters, cost.multiply_adds, cost.activations]
        assert rows[f"stage {number}"] == list(map(str, expected))
    total = complexity(config, 160, classes=10, channels=1)
    assert rows["total"] == list(
        map(str, (22, total.parameters, total.multiply_adds, total.activations))
    )


def test_table_of_given_stages():
    stages = (StageConfig(16, 2, 4, stride=1, bottleneck_ratio=0.5), StageConfig(32, 1, 16))
    config = RegNetConfig(explicit_stages=stages, stem_width=16, stem_stride=1)
    rows = table_rows(stage_table(config, 33, classes=10))
    assert rows["stem"][:3] == ["16", "1", "33"]
    assert rows["stage 1"][:7] == ["16", "2", "4", "2", "0.5", "1", "33"]
    assert rows["stage 2"][:7] == ["32", "1", "16", "2", "1", "2", "17"]
    assert rows["head"][:2] == ["10", "330"]


def test_parts_are_those_of_a_built_network():
    config = get_config("regnety_002")
    model = build_regnet(config, input_shape=(64, 64, 3))
    parts = complexity_by_part(config, 64)
    assert set(parts) == {"stem", "stage_1", "stage_2", "stage_3", "stage_4", "head"}
    counted = dict.fromkeys(parts, 0)
    for variable in model.trainable_variables:
        part = variable.path.split("/")[0]
        part = part if part in parts else "head"
        counted[part] += int(np.prod(variable.shape))
    assert counted == {part: cost.parameters for part, cost in parts.items()}


def test_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["show", *as_options(NUMBERS)])
    text = capsys.readouterr().out
    config = get_config("regnety_004")
    assert text.startswith(f"RegNetY-{config.identity} at 224 pixels\n")
    assert not list(tmp_path.iterdir())
    assert table_rows(text)["total"][1] == str(complexity(config).parameters)


def test_budget(tmp_path, capsys):
    out = tmp_path / "widths.png"
    main(["show", "--budget", "0.2GF", "--se-ratio", "0.25", "--seed", "3", "--out", str(out)])
    text = capsys.readouterr().out
    assert "Nearest to 0.2GF" in text and "The first of them: RegNetY-" in text
    check_picture(out)
    macs = int(table_rows(text.partition("The first")[2].partition("\n\n")[2])["total"][2])
    assert abs(macs - 2e8) < 0.02 * 2e8
    main(["show", "--budget", "200MF", "--se-ratio", "0.25", "--seed", "3", "--out", str(out)])
    again = capsys.readouterr().out
    assert again.partition("The first")[2] == text.partition("The first")[2]


def test_picture_of_given_stages(tmp_path):
    config = RegNetConfig(explicit_stages=(StageConfig(16, 2, 4), StageConfig(32, 1, 16)))
    draw_widths(config, tmp_path / "a.png")
    draw_widths(get_config("regnetx_002"), tmp_path / "b.png")
    colors = [Image.open(tmp_path / name).convert("RGB") for name in ("a.png", "b.png")]
    has_blue = [
        bool((np.abs(np.asarray(image, int) - (31, 95, 168)).max(-1) < 12).any())
        for image in colors
    ]
    assert has_blue == [False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "text, flops", [("400MF", 4e8), ("1.6GF", 1.6e9), ("1.6gf", 1.6e9), ("32GF", 32e9)]
)
def test_parse_flops(text, flops):
    assert parse_flops(text) == flops


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "Give one of these"),
        (["regnetx_002", "--depth", "3"], "Give one of these"),
        (["regnetx_002", "--budget", "400MF"], "Give one of these"),
        (["--budget", "400MF", "--depth", "3"], "Give one of these"),
        (["--depth", "3", "--group-width", "8"], "missing: --initial-width, --width-slope"),
        (["--budget", "400"], "`--budget` must be flops such as 400MF"),
        (["regnetx_2"], "`name` must be a known RegNet"),
        (["regnetx_002", "--out", "a.jpg"], "`--out` must be a file that ends in .png"),
        (["regnetx_002", "--image-size", "31"], "`image_size` must be at least 32"),
        (["regnetx_002", "--set", "stages=3"], "--set limits the search"),
        (["regnetx_002", "--stem-stride", "1"], "go with a --budget or with numbers"),
        (["--budget", "400MF", "--set", "dept=3"], "no field 'dept'. Nearest: depths"),
        (["--budget", "400MF", "--set", "stages"], "`--set` must be FIELD=VALUE"),
        (["--budget", "400MF", "--set", "stages=2,3"], "`--set stages` must be one value"),
        (["--budget", "400MF", "--set", "depths=9,3"], "`depths` must be the least"),
        (["--budget", "400MF", "--max-parameters", "7x"], "`--max-parameters` must be a count"),
        (["regnetx_002", "--json", "a.txt"], "`--json` must be a file that ends in .json"),
        (["--budget", "0.1MF"], "Found 0 of 50 different networks of RegNetX"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["show", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


WISH = [
    "show", "--budget", "18MF", "--image-size", "28", "--classes", "10", "--set", "stages=3",
    "--stem-stride", "1", "--max-parameters", "700k", "--se-ratio", "0.25",
]  # fmt: skip


def test_limits_of_the_search(tmp_path, capsys):
    path = tmp_path / "new" / "net.json"
    assert main([*WISH, "--json", str(path)]) == 0
    text = capsys.readouterr().out
    config = get_config(str(path))
    assert str(path) in text
    assert (len(config.stages), config.stem_stride, config.se_ratio) == (3, 1, 0.25)
    cost = complexity(str(path), 28, classes=10)
    assert abs(cost.flops - 18e6) <= 0.02 * 18e6 and cost.parameters <= 700_000
    line = next(line for line in text.splitlines() if line.startswith("Python: "))
    names = {"RegNetConfig": RegNetConfig, "StageConfig": StageConfig}
    assert eval(line.removeprefix("Python: "), names) == config
    assert build_regnet(str(path), input_shape=(28, 28, 3), classes=10).count_params() > 0


def test_settings():
    assert parse_setting("depths=3,12") == ("depths", (3, 12))
    assert parse_setting("width_slopes=4,64.5") == ("width_slopes", (4, 64.5))
    assert parse_setting("bottleneck_ratios=0.5") == ("bottleneck_ratios", (0.5,))
    assert parse_setting("stages=3") == ("stages", 3)
    assert parse_setting("stride=1") == ("stride", 1)
    assert parse_setting("stride=1,2,2") == ("stride", (1, 2, 2))
    assert parse_setting("activation=silu") == ("activation", "silu")
    assert [parse_count(text, "x") for text in ("700k", "2.5M", "12")] == [7e5, 2.5e6, 12]


@pytest.mark.parametrize(
    "size, small", [(64, "stage 4 works on 2x2 maps"), (32, "stage 3 works on 2x2"), (96, None)]
)
def test_warning_of_small_maps(size, small, capsys):
    assert main(["show", "regnetx_002", "--image-size", str(size)]) == 0
    printed = capsys.readouterr().err
    assert (small in printed and "Warning" in printed) if small else not printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("[1]", "holds no JSON object"),
        ('{"dept": 3}', "is no configuration of a RegNet"),
        ('{"depth": "x"}', "is no configuration of a RegNet"),
    ],
)
def test_damaged_files_of_configurations(content, message, tmp_path, capsys):
    path = tmp_path / "net.json"
    if content:
        path.write_text(content)
    assert main(["show", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(path) in error and error.count("\n") == 1


def test_variant_or_file(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(get_config("regnetx_002").to_dict()))
    assert variant_or_file(str(path)) == str(path)
    assert variant_or_file("RegNetX-200MF") == "regnetx_002"
    with pytest.raises(UserError, match="cannot be read"):
        variant_or_file(str(tmp_path / "missing.json"))
