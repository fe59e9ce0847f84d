"""The command `regnet`: its programs, and what it answers without TensorFlow."""

import configparser
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from regnet_command import PROGRAMS, main
from regnet_command.variants import variant_table
from regnet_command.weights import weights_table

import regnet_tf
from regnet_tf.porting import SOURCES

GRAY = regnet_tf.Preprocessing(mean=(0.25,), std=(0.5,))


def test_variants(capsys):
    assert variant_table().count("\n") == 1 + len(regnet_tf.VARIANTS)
    main(["variants", "regnetx_00*"])
    assert "| RegNetX-400MF | `regnetx_004` | 22 | 32, 64, 160, 384 | 16 | 5.2 | 0.40 | 3.1 |" in (
        capsys.readouterr().out
    )


def test_weights_list_and_info(capsys):
    main(["weights", "list", "regnety_032.*"])
    row = "| `regnety_032.ra_in1k` | apache-2.0 | 1000 | 224 | 82.72 | timm, 288 |"
    assert f"{row} 87.94 | 72.78 | 26.17 | 45.88 | 33.42 |" in capsys.readouterr().out
    assert weights_table().count("\n") == 73
    main(["weights", "info", "regnety_032.ra_in1k"])
    printed = capsys.readouterr().out
    assert "timm/regnety_032.ra_in1k" in printed
    assert "| ImageNet-A | timm | 288 | 26.173 | 61.013 |" in printed
    main(["weights", "info", "regnety_320.seer"])  # without published accuracies
    assert "|" not in capsys.readouterr().out
    assert main(["weights", "list", "regnety_032"]) == 2  # a variant
    error = capsys.readouterr().err
    assert "matches 'regnety_032'. Nearest: " in error and "regnety_032.ra_in1k" in error


def test_weights_convert(tmp_path, capsys):
    source, target = tmp_path / "a.npz", tmp_path / "b.safetensors"
    state_dict = regnet_tf.to_state_dict(regnet_tf.build_regnet("regnetx_002"), "pycls")
    regnet_tf.write_state_dict(source, state_dict)
    options = ["--variant", "regnetx_002", "--names", "torchvision"]
    main(["weights", "convert", str(source), str(target), *options])
    assert str(target) in capsys.readouterr().out
    converted = regnet_tf.read_state_dict(target)
    stem = state_dict["stem.conv.weight"][:, ::-1]
    np.testing.assert_array_equal(converted["stem.0.weight"], stem)


def test_weights_convert_of_an_unknown_variant(tmp_path, capsys):
    words = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--variant", "regnetx_02"]
    assert main(["weights", "convert", *words]) == 2
    assert "`--variant` must be a known RegNet" in capsys.readouterr().err


def test_a_run_on_gray_images_is_converted(tmp_path):
    source, target = tmp_path / "run", tmp_path / "b.keras"
    source.mkdir()
    config = regnet_tf.RegNetConfig(explicit_stages=(regnet_tf.StageConfig(8, 1, 8),), stem_width=8)
    options = {"input_shape": (32, 32, 1), "class_names": ["a", "b"], "dtype": "mixed_bfloat16"}
    model = regnet_tf.build_regnet(config, preprocessing=GRAY, **options)
    model.save(source / "model.keras")
    assert main(["weights", "convert", str(source), str(target)]) == 0
    converted = keras.saving.load_model(target)
    facts = regnet_tf.facts_of(converted)
    assert (facts.class_names, facts.preprocessing.mean) == (("a", "b"), GRAY.mean)
    assert converted.input_shape[-1] == 1 and converted.dtype_policy.name == "float32"
    for ours, theirs in zip(converted.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("arguments", [["weights", "info", "regnety_032.ra_in"], ["predict", "x"]])
def test_errors_are_one_line(arguments, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"regnet {arguments[0]}: error: ") and error.count("\n") == 1


@pytest.fixture(scope="module")
def regnet():
    """Runs the installed command: status, output, and what it printed about errors.

    The environment is a user's: nothing in it keeps TensorFlow from printing its log.
    """
    command = pathlib.Path(sys.executable).with_name("regnet")
    if not command.exists():
        pytest.skip("the project is not installed: pip install -e .")

    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}

    def run(*arguments, cwd=None):
        done = subprocess.run(
            [command, *arguments], env=quiet, capture_output=True, text=True, cwd=cwd
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_overview_fits_on_a_screen(regnet, arguments):
    status, printed, error = regnet(*arguments)
    assert (status, error) == (0, "")
    assert all(f"\n  {name} " in printed for name in PROGRAMS)
    assert printed.count("\n") < 40 and max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_needs_no_tensorflow(run_python, name):
    words = [*name.split(), "--help"]
    code = (
        "import sys\nfrom regnet_command import main\n"
        f"try: main({words})\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & {*sys.modules}, 'imported'\n"
    )
    printed = run_python("-c", code)
    assert printed.startswith(f"usage: regnet {name} ")
    assert f"\n  regnet {name}" in printed  # an example


def test_tables_need_neither_tensorflow_nor_matplotlib(run_python):
    code = (
        "import sys\nfrom regnet_command import main\n"
        "assert main(['show', 'regnetx_002']) == main(['variants']) == 0\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & {*sys.modules}, 'imported'\n"
    )
    printed = run_python("-c", code)
    assert "RegNetX-200MF" in printed and "2,684,792" in printed


def test_weights_are_converted_to_the_names_of_every_source(capsys):
    with pytest.raises(SystemExit):
        main(["weights", "convert", "--help"])
    printed = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert f"{{{','.join(SOURCES)}}}" in printed


@pytest.mark.slow
def test_only_what_was_asked_for_is_printed(regnet):
    status, printed, error = regnet("weights", "list", "regnety_032.*")
    assert (status, error) == (0, "")
    assert printed.startswith("| tag |")


def test_version(regnet):
    assert regnet("--version") == (0, f"regnet_tf {regnet_tf.__version__}\n", "")


def test_unknown_program(regnet):
    status, printed, error = regnet("trian", "--recipe", "digits")
    assert (status, printed) == (2, "")
    assert error.startswith("regnet: error: There is no program `trian`. Nearest: train. Known: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--recipe", "digitz"], "regnet train: error: No recipe is called 'digitz'. "),
        *(
            pytest.param(
                [*name.split(), "nowhere"], f"regnet {name}: error: ", marks=pytest.mark.slow
            )
            for name in ("verify", "data inspect")
        ),
    ],
)
def test_errors_of_programs_are_one_line(regnet, tmp_path, words, message):
    status, printed, error = regnet(*words, cwd=tmp_path)
    assert (status, printed) == (2, "")
    assert error.startswith(message) and error.count("\n") == 1


MODULES = (
    *("training", "training.evaluate", "training.sweep", "training.benchmark"),
    pytest.param("training.data", marks=pytest.mark.slow),  # its package imports TensorFlow
    *("export", "export.verify", "export.client", "export.benchmark"),
    *("benchmarks.accelerator", "benchmarks.compare", "benchmarks.model_zoo"),
    "benchmarks.photographs",
)


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_programs(run_python, module):
    assert run_python("-m", module, "--help").startswith("usage: ")


def test_everything_is_installed():
    """Each folder of modules is a package of the wheel."""
    root = pathlib.Path(regnet_tf.__file__).parents[1]
    metadata = configparser.ConfigParser()
    metadata.read(root / "setup.cfg")
    listed = set(metadata["options"]["packages"].split())
    found = {"regnet_command"}
    for top, name in (("regnet_tf", ""), ("training", "regnet_tf."), ("export", "regnet_tf.")):
        folders = {file.parent for file in (root / top).rglob("__init__.py")}
        dotted = (".".join(folder.relative_to(root).parts) for folder in folders)
        found |= {name + package for package in dotted}
    assert listed == found - {"regnet_tf.command"}
