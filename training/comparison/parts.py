"""What is measured, and in which regimes."""

#: Of a network: those of a library, and files that it exports.
LIBRARY = ("training", "inference", "latency")
FORMS = ("saved_model", "tflite")
PARTS = (*LIBRARY, *FORMS)

#: Of these a call takes a batch of images; of the others one image.
BATCHED = ("training", "inference")

#: The files of these forms take batches of any size.
ANY_BATCH = ("saved_model", "onnx")

#: The machine as it is, with the user's own variables.
NATIVE = "native"
#: Regime -> variables of all processes. TensorFlow and PyTorch compute with oneDNN; it reads the
#: second one itself, so that processors with AVX-512 do as those without.
REGIMES = {
    NATIVE: {},
    "avx2": {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
}


def in_a_shell(variables) -> str:
    """Variables as in a shell; "none" where there are none.

    Args:
        variables: dict from name to value, or pairs of them.
    """
    return " ".join(f"{name}={value}" for name, value in dict(variables).items()) or "none"
