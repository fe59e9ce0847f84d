"""Files that are whole or absent, and what is said of damaged ones."""

import zipfile

import numpy as np
import pytest

from regnet_tf._errors import UserError
from regnet_tf._files import print_paths, read_arrays, read_json, replacing, write_json


def test_replacing(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as partial:
        assert partial.suffix == ".txt" and not path.exists()
        partial.write_text("first")
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as partial:
        partial.write_text("second")
        raise RuntimeError("stop")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_write_json(tmp_path):
    path = tmp_path / "facts.json"
    write_json(path, {"a": [1]})
    assert path.read_text() == '{\n  "a": [\n    1\n  ]\n}\n'
    with pytest.raises(TypeError):
        write_json(path, {"a": {1}})
    assert read_json(path) == {"a": [1]} and list(tmp_path.iterdir()) == [path]


def test_print_paths(tmp_path, capsys):
    print_paths(tmp_path, {"a": "one", "long": "two"})
    one, two = capsys.readouterr().out.splitlines()
    assert one.index("one") == two.index("two") and str(tmp_path / "long") in two


def test_read_json(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text('{"a": [1], "b": "ü"}', encoding="utf-8")
    assert read_json(path, "a") == {"a": [1], "b": "ü"}
    for content, problem in (
        (b'{"a": ', "Expecting value"),
        (b"\xff", "decode"),
        (b"[1]", "it holds no JSON object"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"a": 1, "a": 2}', "it has the key 'a' twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it has an integer of 5,000 digits"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"facts\.json is damaged: .*{problem}"):
            read_json(path)
    path.write_text("{}")
    with pytest.raises(UserError, match=r"facts\.json is damaged: it lacks a, b$"):
        read_json(path, "a", "b")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nothing.json")


def test_read_arrays(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, a=np.arange(3), b=np.array("text"))
    found = read_arrays(path)
    assert found["a"].tolist() == [0, 1, 2] and str(found["b"]) == "text"
    np.savez(path, a=np.array([None]))
    with pytest.raises(ValueError, match="pickle"):
        read_arrays(path)
    with pytest.raises(ValueError, match="No such file"):
        read_arrays(tmp_path / "nothing.npz")


def test_an_entry_that_lost_its_mark_is_no_array(tmp_path):
    """numpy gives it as bytes; the checksum of nothing is that of zeros."""
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"")
    with pytest.raises(ValueError, match="its entry a is not an array"):
        read_arrays(path)
