"""The contenders on a GPU: this project on two backends of Keras, and timm."""

import dataclasses

PARTS = ("training", "inference")


@dataclasses.dataclass(frozen=True)
class Contender:
    """A library and a way to run its network.

    Attributes:
        how: description of how its network is run.
        modules: modules that it needs.
        backend: Keras' backend; None for a library without Keras.
        compiled: whether the worker compiles the network itself, by `jax.jit` or `torch.compile`.
        parts: the parts in `PARTS` in which it is measured.
    """

    how: str
    modules: tuple[str, ...]
    backend: str | None = None
    compiled: bool = False
    parts: tuple[str, ...] = PARTS


_STEPS = "train_on_batch and predict_on_batch"
_TIMM = ("torch", "torchvision", "timm")

#: Name -> `Contender`. This project's contenders are first.
CONTENDERS = {
    "regnet_tf_jax": Contender(f"Keras on JAX: {_STEPS}", ("jax",), "jax"),
    "regnet_tf_jax_jitted": Contender(
        "Keras on JAX: jax.jit of stateless_call", ("jax",), "jax", True, ("inference",)
    ),
    "regnet_tf_torch": Contender(f"Keras on PyTorch, eager: {_STEPS}", ("torch",), "torch"),
    "timm": Contender("eager, channels_last, torch.autocast for bfloat16, inference_mode", _TIMM),
    "timm_compiled": Contender("as timm, by torch.compile", _TIMM, compiled=True),
}
PEERS = tuple(name for name, contender in CONTENDERS.items() if contender.backend is None)

#: Packages whose versions are recorded.
PACKAGES = ("regnet_tf", "keras", "jax", "jaxlib", "torch", "timm", "triton", "numpy")
