"""Regimes of measurements: environment variables with which a processor plays another one."""

from collections.abc import Iterable

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


def regimes_in_a_shell() -> str:
    """Returns a line for each regime with its variables, for the help of a command."""
    return "\n".join(f"  {name:13} {in_a_shell(one)}" for name, one in REGIMES.items())
