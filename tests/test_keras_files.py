"""Files of Keras that are made to do harm, or whose weights are no numbers."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from regnet_tf import RegNetConfig, StageConfig, _keras_files, build_regnet
from regnet_tf._errors import UserError
from regnet_tf._keras_files import load_model, saved_config

CONFIG = RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),), stem_width=8)
VARIANCE = "layers/stem/conv/norm/vars/3"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The entries of a `.keras` file."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    build_regnet(CONFIG, classes=3, input_shape=(32, 32, 3)).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def with_variance(weights, **dataset):
    """The weights with another dataset as a variance."""
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as opened:
        del opened[VARIANCE]
        opened.create_dataset(VARIANCE, **dataset)
    return file.getvalue()


def test_a_name_alone_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.setattr(_keras_files, "import_optional", None)
    model = build_regnet(CONFIG, classes=3, input_shape=(32, 32, 3), name="from_keras_hub")
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").name == "from_keras_hub"


def code(module, name, config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


@pytest.mark.parametrize(
    "config",
    [
        code("os", "system", {"command": "touch {owned}"}),
        code("subprocess", "Popen", {"args": ["touch", "{owned}"]}),
        code("builtins", "eval", {"source": "open('{owned}', 'w')"}),
        code("keras.utils", "get_file", {"fname": "{owned}", "origin": "file:///etc/hostname"}),
        {"class_name": "__lambda__", "config": {"value": ["4wAA", "", None]}},
    ],
)
def test_configurations_run_no_code(saved, tmp_path, config):
    owned = tmp_path / "owned"
    text = json.dumps(config).replace("{owned}", str(owned))
    path = write(tmp_path / "model.keras", {**saved, "config.json": text})
    with pytest.raises(UserError, match=r"^[^\n]*model\.keras cannot be read: [^\n]*$") as error:
        load_model(path)
    assert not owned.exists() and "safe_mode" not in str(error.value)


def test_lambda_layers_run_no_code(tmp_path):
    images = keras.Input((2,))
    path = tmp_path / "model.keras"
    keras.Model(images, keras.layers.Lambda(lambda x: x * 2)(images)).save(path)
    with pytest.raises(UserError, match=r"model\.keras cannot be read: it holds Python code"):
        load_model(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ("5", "holds no JSON object"),
        (" " * (2**26 + 1), "its entry config.json has 67,108,865 bytes"),
    ],
)
def test_configurations_that_are_none(saved, tmp_path, config, message):
    entries = {**saved, "config.json": config}
    path = write(tmp_path / "model.keras", entries, zipfile.ZIP_DEFLATED)
    for read in (load_model, saved_config):
        with pytest.raises(UserError, match=rf"model\.keras .*{message}"):
            read(path)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"data": np.ones(8) * 1j}, f"{VARIANCE} must hold floating-point numbers. .* complex128"),
        ({"data": np.ones(8, bool)}, "It holds bool"),
        ({"data": np.array([b"1"] * 8)}, r"It holds \|S1"),
        ({"shape": (8,), "dtype": h5py.string_dtype()}, "It holds object"),
        ({"shape": (10**9,), "dtype": "f4", "chunks": (100,)}, "its content claims 4,000,0"),
        ({"data": np.ones(9, "f4")}, ""),
        ({"data": h5py.Empty("f4")}, ""),
    ],
)
def test_weights_that_are_none(saved, tmp_path, dataset, message):
    weights = with_variance(saved["model.weights.h5"], **dataset)
    (tmp_path / "model.weights.h5").write_bytes(weights)
    write(tmp_path / "model.keras", {**saved, "model.weights.h5": weights})
    for name in ("model.keras", "model.weights.h5"):
        with pytest.raises(ValueError, match=rf"^[^\n]*{name} [^\n]*{message}[^\n]*$"):
            build_regnet(CONFIG, classes=3, weights=tmp_path / name)


def test_integers_are_no_weights(saved, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(with_variance(saved["model.weights.h5"], data=np.ones(8, "int32")))
    with pytest.raises(ValueError, match=r"floating-point numbers\. It holds int32"):
        build_regnet(CONFIG, classes=3, weights=path)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN or infinite"), (-1, "negative")])
def test_odd_values_are_told(saved, tmp_path, value, word, caplog):
    weights = with_variance(saved["model.weights.h5"], data=np.full(8, value, "f4"))
    (tmp_path / "model.weights.h5").write_bytes(weights)
    build_regnet(CONFIG, classes=3, weights=tmp_path / "model.weights.h5")
    assert caplog.messages == [
        f"RegNet has odd weights: 8 of 8 values of stem.bn.running_var are {word}."
    ]
    caplog.clear()
    load_model(write(tmp_path / "model.keras", {**saved, "model.weights.h5": weights}))
    (line,) = caplog.messages
    assert f"8 of 8 values of stem/conv/norm/moving_variance are {word}." in line


def test_bombs(saved, tmp_path):
    entries = {**saved, "model.weights.h5": bytes(2**27)}
    path = write(tmp_path / "model.keras", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="cannot be read: its content claims 134,"):
        load_model(path)
