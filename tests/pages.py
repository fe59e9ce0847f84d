"""Networks with a page for browsers, and photographs for them."""

import keras
import numpy as np
from networks import with_statistics
from skimage import data

from export.convert import convert
from export.formats import web
from export.network import Network
from export.source import Source
from regnet_tf import Preprocessing, RegNetConfig, StageConfig, build_regnet

SIZE = 64
STAGES = (StageConfig(8, 1, 8), StageConfig(16, 1, 8))
CONFIG = RegNetConfig(explicit_stages=STAGES, stem_width=8, se_ratio=0.25)
RGB = Preprocessing(image_size=SIZE)
#: One of the names must not be taken for HTML.
NAMES = ("cup", "<img src=x onerror=alert(1)>", "café & 中文", "tree", "sea", "sky", "sand")
PHOTOGRAPHS = {
    "astronaut": data.astronaut(),
    "cat": data.chelsea(),  # wide
    "tall": data.coffee()[:, 100:280],  # more than twice as high as wide
    "small": data.chelsea()[100:140, 200:250],  # enlarged
    "gray": np.dstack([data.camera()] * 3),
}


class Exported:
    """A network with random weights that make classes, its `.tflite` file, and its page.

    Args:
        name: name of the network.
        model: a network whose last layer is its head. Its logits become about 2.
        preprocessing: its preprocessing.
        folder: where to write to.
        bias: the head's bias.
    """

    def __init__(self, name, model, preprocessing, folder, bias=(0,) * 7):
        with_statistics(model)
        head = model.layers[-1]
        dense = getattr(head, "dense", head)
        features = keras.Model(model.input, keras.tree.flatten(head.input)[0])
        images = [image[..., : preprocessing.channels] for image in PHOTOGRAPHS.values()]
        logits = features(preprocessing(images)).numpy() @ dense.kernel.numpy()
        dense.kernel.assign(dense.kernel * (2 / logits.std()))
        dense.bias.assign(bias)
        self.source = Source(name, model, preprocessing, NAMES)
        self.network = Network(model, is_classifier=True)
        self.tflite = folder / f"{name}.tflite"
        self.tflite.write_bytes(convert(self.network, preprocessing, 1))
        self.page = folder / f"{name}_page"

    def write(self, folder, **options):
        web.write_web(folder, self.source, self.network, self.tflite, **options)

    def scores(self, file, **changes):
        """The Keras model's own answer about a file."""
        preprocessing = self.source.preprocessing.replace(**changes)
        return self.source.model(preprocessing(str(file))).numpy()[0]


def classifier(channels=3, **options):
    return build_regnet(CONFIG, input_shape=(SIZE, SIZE, channels), classes=7, **options)
