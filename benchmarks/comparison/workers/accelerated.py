"""Worker: a network on a GPU, or else on the CPU, that takes turns with other workers.

It reads requests from standard input and writes answers to standard output, one line of JSON each.
The first request builds the network. Each of the others is a turn.
"""

import contextlib
import json
import math
import os
import sys
import traceback
from typing import Any

import measuring
import torch_peers


class Keras:
    """regnet_tf on the backend of Keras that KERAS_BACKEND names."""

    def build(self, request):
        """Creates the network of a request, with logits as output, compiled for training."""
        import keras

        import regnet_tf

        self.keras = keras
        self.device = _JaxDevice() if keras.backend.backend() == "jax" else _TorchDevice()
        keras.config.set_dtype_policy(request["precision"])
        self.model = regnet_tf.build_regnet(
            request["network"]["key"],
            input_shape=(request["image_size"], request["image_size"], 3),
            classes=request["network"]["classes"],
            classifier_activation=None,
        )
        self.model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.infer = self._jitted() if request["compiled"] else self.model.predict_on_batch

    def _jitted(self):
        """Returns a function from images to logits that JAX compiles without Keras' `predict`."""
        import jax
        import numpy as np

        model = self.model
        variables = model.trainable_variables, model.non_trainable_variables
        values = [[variable.value for variable in some] for some in variables]
        call = jax.jit(lambda *values: model.stateless_call(*values, training=False)[0])
        return lambda images: np.asarray(call(*values, images))

    def parameters(self):
        """Returns the number of trainable parameters."""
        return sum(math.prod(variable.shape) for variable in self.model.trainable_variables)

    def step(self, part, images, labels):
        """Returns a function that runs one batch and returns when it is done.

        Args:
            part: "training" or "inference".
            images: float32 `(batch, size, size, 3)`.
            labels: int32 `(batch,)`.
        """
        images, labels = map(self.keras.ops.convert_to_tensor, (images, labels))
        if part == "training":
            return lambda: self.model.train_on_batch(images, labels)
        return lambda: self.infer(images)


class Timm(torch_peers.Timm):
    """timm's network; see `Keras` for the methods."""

    def build(self, request):
        self.load()
        self.device = _TorchDevice()
        super().build({**request, "part": "training"})
        self.model: Any = self.model.to(self.device.name)
        if request["compiled"]:
            self.model = self.torch.compile(self.model)
        short = request["precision"] == "mixed_bfloat16"
        self.precision = (
            self.torch.autocast(self.device.name, self.torch.bfloat16)
            if short
            else contextlib.nullcontext()
        )

    def parameters(self):
        return self.facts()["parameters"]

    def step(self, part, images, labels):
        self.model.train(part == "training")
        images = self.torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device.name)
        images = images.contiguous(memory_format=self.torch.channels_last)
        labels = self.torch.from_numpy(labels).long().to(self.device.name)
        return lambda: self._train(images, labels) if part == "training" else self._infer(images)

    def _infer(self, images):
        with self.torch.inference_mode():
            return self.logits(images).cpu().numpy()

    def logits(self, images):
        with self.precision:
            return self.model(images).float()


class _TorchDevice:
    """The GPU in PyTorch, with TensorFloat-32 and the fastest convolutions; else the CPU."""

    def __init__(self):
        import torch

        self._torch = torch
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        self.name = "cuda" if torch.cuda.is_available() else "cpu"

    def describe(self):
        """Returns the name of the device."""
        return self._torch.cuda.get_device_name() if self.name == "cuda" else "CPU"

    def restart_memory(self):
        """Counts the peak memory from now on."""
        if self.name == "cuda":
            self._torch.cuda.reset_peak_memory_stats()

    def memory(self):
        """Returns the most bytes of tensors on the GPU; None for a CPU."""
        return self._torch.cuda.max_memory_allocated() if self.name == "cuda" else None


class _JaxDevice:
    """The GPU in JAX, which uses TensorFloat-32 by default; see `_TorchDevice`."""

    def __init__(self):
        import jax

        self._device = jax.devices()[0]

    def describe(self):
        return self._device.device_kind if self._device.platform == "gpu" else "CPU"

    def restart_memory(self):
        """Does nothing: JAX counts from the start of the process."""

    def memory(self):
        return (self._device.memory_stats() or {}).get("peak_bytes_in_use")


class _Server:
    """Answers requests.

    The first request is a dict: "keras", whether the network is regnet_tf's; "compiled", as in
    `Contender`; and "network", "batch_size", "image_size" and "precision". The answer has "device"
    and "parameters". A turn is a dict: "part" and "seconds". The answer is that of
    `measuring.steps`, with "memory" in bytes.
    """

    def __init__(self):
        self._peer: Any = None

    def answer(self, request):
        """Returns the answer to a request."""
        return self._build(request) if self._peer is None else self._turn(**request)

    def _build(self, request):
        peer: Any = Keras() if request["keras"] else Timm()
        peer.build(request)
        self._peer, self._data = peer, measuring.random_data(request)
        return {"device": peer.device.describe(), "parameters": peer.parameters()}

    def _turn(self, part, seconds):
        step = self._peer.step(part, *self._data)
        self._peer.device.restart_memory()
        return {**measuring.steps(step, seconds), "memory": self._peer.device.memory()}


def _serve():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    server = _Server()
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            text = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {text}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
