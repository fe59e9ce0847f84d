"""The command line of the library."""

import numpy as np
import pytest

import regnet_tf
from regnet_tf.__main__ import main, variant_table, weights_table


def test_variants(capsys):
    assert variant_table().count("\n") == 1 + len(regnet_tf.VARIANTS)
    main(["variants", "regnetx_00*"])
    assert "| RegNetX-400MF | `regnetx_004` | 22 | 32, 64, 160, 384 | 16 | 5.2 | 0.40 | 3.1 |" in (
        capsys.readouterr().out
    )


def test_weights_list_and_info(capsys):
    main(["weights", "list", "regnety_032.*"])
    assert "| `regnety_032.ra_in1k` | apache-2.0 | 1000 | 224 | 82.72 | timm, 288 |" in (
        capsys.readouterr().out
    )
    assert weights_table().count("\n") == 62
    main(["weights", "info", "regnety_032.ra_in1k"])
    assert "timm/regnety_032.ra_in1k" in capsys.readouterr().out


def test_weights_convert(tmp_path, capsys):
    source, target = tmp_path / "a.npz", tmp_path / "b.safetensors"
    state_dict = regnet_tf.to_state_dict(regnet_tf.create_model("regnetx_002"), "pycls")
    regnet_tf.write_state_dict(source, state_dict)
    main(["weights", "convert", "regnetx_002", str(source), str(target), "--names", "torchvision"])
    assert str(target) in capsys.readouterr().out
    converted = regnet_tf.read_state_dict(target)
    stem = state_dict["stem.conv.weight"][:, ::-1]
    np.testing.assert_array_equal(converted["stem.0.weight"], stem)


@pytest.mark.parametrize("arguments", [["weights", "info", "regnety_032.ra_in"], ["predict", "x"]])
def test_errors_are_one_line(arguments, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
