"""Worker: RegNets in PyTorch, channels_last, from timm, torchvision and transformers."""

import abc
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import measuring


class _Torch(abc.ABC):
    """A network; see `keras_peers.Peer` for the methods."""

    @abc.abstractmethod
    def import_library(self):
        """Returns the library."""

    @abc.abstractmethod
    def create(self, network):
        """Returns the network with logits as output."""

    def load(self):
        self.torch = importlib.import_module("torch")
        self.operations = _declared_operations(self.torch)
        self.library = self.import_library()

    def limit(self, threads):
        self.torch.set_num_threads(threads)

    def build(self, request):
        self.model = self.create(request["network"])
        self.model.to(memory_format=self.torch.channels_last)
        self.model.train(request["part"] == "training")
        parameters = self.model.parameters()
        self.optimizer = self.torch.optim.SGD(parameters, 0.01, momentum=0.9, nesterov=True)

    def facts(self):
        return {"parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad)}

    def step(self, part, images, labels):
        images = self.torch.from_numpy(images).permute(0, 3, 1, 2)
        images = images.contiguous(memory_format=self.torch.channels_last)
        labels = self.torch.from_numpy(labels).long()
        return lambda: self._train(images, labels) if part == "training" else self._infer(images)

    def _train(self, images, labels):
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.logits(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _infer(self, images):
        with self.torch.inference_mode():
            return self.logits(images).numpy()

    def logits(self, images):
        return self.model(images)


class Timm(_Torch):
    def import_library(self):
        return importlib.import_module("timm")

    def create(self, network):
        if not self.library.is_model(network["key"]):
            sys.exit(f"timm has no {network['key']}")
        return self.library.create_model(network["key"], num_classes=network["classes"])

    def export(self, request):
        """Writes an ONNX file for any batch size."""
        self._randomize()
        path = Path(request["folder"]) / "network.onnx"
        size = request["image_size"]
        self.torch.onnx.export(
            self.model.to(memory_format=self.torch.contiguous_format),
            (self.torch.zeros(2, 3, size, size),),
            path,
            dynamo=True,
            dynamic_shapes=({0: self.torch.export.Dim("batch")},),
            external_data=False,  # one file
        )
        return {"file": str(path), "signature": None}

    def _randomize(self):
        """Sets the normalization variables to random values.

        In a new network they have no effect, and some runtimes drop them.
        """
        self.torch.manual_seed(0)
        for module in self.model.modules():
            if isinstance(module, self.torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    self.torch.nn.init.uniform_(tensor, 0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    self.torch.nn.init.uniform_(tensor, -0.5, 0.5)


class CompiledTimm(Timm):
    def load(self):
        # This folder is deleted with the process, so no earlier compilation is reused.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.abspath("compiled")
        super().load()

    def build(self, request):
        super().build(request)
        self.model = self.torch.compile(self.model)


class Torchvision(_Torch):
    """torchvision's classes with the stages of this project's network.

    torchvision's own widths differ in three variants.
    """

    def import_library(self):
        return importlib.import_module("torchvision.models.regnet")

    def create(self, network):
        _check_plain(network, "torchvision")
        stages = len(network["depths"])
        blocks = self.library.BlockParams(
            depths=network["depths"],
            widths=network["widths"],
            group_widths=network["group_widths"],
            bottleneck_multipliers=[1.0] * stages,
            strides=[2] * stages,
            se_ratio=network["se_ratio"] or None,
        )
        return self.library.RegNet(blocks, num_classes=network["classes"])


class Transformers(_Torch):
    def import_library(self):
        library = importlib.import_module("transformers")
        _ = library.RegNetForImageClassification  # the package imports lazily
        return library

    def create(self, network):
        _check_plain(network, "transformers")
        config = self.library.RegNetConfig(
            depths=network["depths"],
            hidden_sizes=network["widths"],
            groups_width=network["group_width"],
            layer_type="y" if network["se_ratio"] else "x",
            num_labels=network["classes"],
        )
        return self.library.RegNetForImageClassification(config)

    def logits(self, images):
        return self.model(images).logits


def _check_plain(network, library):
    if not network["plain"]:
        sys.exit(f"{library} has no {network['key']}")


def _declared_operations(torch):
    """Declares torchvision's compiled operations if its own do not fit this PyTorch.

    torchvision cannot be imported without them. The declarations last as long as the returned
    object.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    try:
        for path in Path(spec.origin).parent.glob("_C.*"):
            torch.ops.load_library(str(path))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        return library
    return None


PEERS = {
    "timm": Timm,
    "timm_tuned": Timm,
    "timm_compiled": CompiledTimm,
    "torchvision": Torchvision,
    "transformers": Transformers,
}

if __name__ == "__main__":
    measuring.measure(PEERS)
