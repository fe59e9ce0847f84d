"""Parts of a measurement, and regimes."""

from collections.abc import Iterable

#: Parts measured for a network: in its library, and in the forms of the files that it exports.
LIBRARY = ("training", "inference", "latency")
FORMS = ("saved_model", "tflite")
PARTS = (*LIBRARY, *FORMS)

#: Parts in which a call takes a batch of images; in the others it takes one image.
BATCHED = ("training", "inference")

#: Forms with files that take any batch size.
ANY_BATCH = ("saved_model", "onnx")

#: Regime with the user's own variables, unchanged.
NATIVE = "native"
#: Variables that hold a processor with AVX-512 to AVX2: oneDNN reads the first, PyTorch the second.
#: TensorFlow's other kernels have no AVX-512.
_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
#: Regime -> variables of all processes. TensorFlow and PyTorch compute with oneDNN. Few processors
#: on which TensorFlow leaves it off have AVX-512: "off_avx2" plays most of them.
REGIMES: dict[str, dict[str, str]] = {
    NATIVE: {},
    "avx2": {"TF_ENABLE_ONEDNN_OPTS": "1", **_AVX2},
    "off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "off_avx2": {"TF_ENABLE_ONEDNN_OPTS": "0", **_AVX2},
}


def in_a_shell(variables: dict[str, str] | Iterable[tuple[str, str]]) -> str:
    """Returns variables as written in a shell, or "none" without variables.

    Args:
        variables: dict: name -> value, or pairs of name and value.
    """
    return " ".join(f"{name}={value}" for name, value in dict(variables).items()) or "none"
