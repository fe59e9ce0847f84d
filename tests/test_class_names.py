"""Names of predicted classes, ImageNet's and others."""

import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import RegNetConfig, StageConfig, build_regnet
from regnet_tf.class_names import decode_predictions, imagenet_classes, imagenet_synsets, readable

CONFIG = RegNetConfig(explicit_stages=(StageConfig(8, 1, 8),), stem_width=8)


def test_classes_are_the_sorted_synsets():
    classes = imagenet_classes()
    synsets = [synset for synset, _ in classes]
    assert len(set(synsets)) == 1000 and synsets == sorted(synsets)
    assert classes[0] == ("n01440764", "tench, Tinca tinca")
    assert classes[999][0] == "n15075141"


def test_decode_predictions():
    scores = np.full((2, 1000), 1e-4, "float32")
    scores[0, [2, 281, 999]] = 0.5, 0.25, 0.1
    scores[1, 386] = 0.75
    for preds in (scores, scores.astype("float64"), tf.constant(scores)):
        first, second = decode_predictions(preds, top=3)
        assert [name for _, name, _ in first] == ["great_white_shark", "tabby", "toilet_tissue"]
        assert first[0] == ("n01484850", "great_white_shark", 0.5)
        assert second[0][:2] == ("n02504458", "African_elephant")
        assert len(second) == 3
    assert len(decode_predictions(scores)[0]) == 5
    assert len(decode_predictions(scores, top=1000)[0]) == 1000


@pytest.mark.parametrize("shape", [(1000,), (2, 10), (1, 1, 1000), ()])
def test_predictions_of_another_shape(shape):
    match = r"`preds` must be ImageNet's scores, of shape \(batch, 1000\); for others pass `model`"
    with pytest.raises(ValueError, match=match):
        decode_predictions(np.zeros(shape))


@pytest.mark.parametrize("top", [0, 1001, 2.5])
def test_top_out_of_range(top):
    with pytest.raises(ValueError, match="`top` must be"):
        decode_predictions(np.zeros((1, 1000)), top=top)


def test_readable():
    assert readable("n01484850") == "great white shark"
    assert readable("great, white") == "great, white"  # no synset


# Names that a model knows.


def test_names_of_a_model():
    model = build_regnet(CONFIG, class_names=("red fox", "cat, tabby"))
    (best,) = decode_predictions([[0.2, 0.8]], model=model)
    assert best == [("cat, tabby", "cat, tabby", 0.8), ("red fox", "red fox", 0.2)]
    assert decode_predictions([[0.2, 0.8]], 1, model) == [best[:1]]


def test_synsets_of_a_model():
    model = build_regnet(CONFIG, class_names=imagenet_synsets()[2:4])
    assert decode_predictions([[0.8, 0.2]], 1, model) == [[("n01484850", "great_white_shark", 0.8)]]


def test_a_model_that_does_not_know_its_classes():
    model = build_regnet(CONFIG, classes=2, name="mine")
    with pytest.raises(ValueError, match=r"`model` must know .*the model 'mine' without class na"):
        decode_predictions([[0.2, 0.8]], model=model)
    model.get_layer("head").class_names = ("red fox", "cat")
    assert decode_predictions([[0.2, 0.8]], model=model)[0][0][0] == "cat"


def test_scores_of_another_model():
    model = build_regnet(CONFIG, class_names=("red fox", "cat"))
    with pytest.raises(ValueError, match=r"`preds` must be the model's scores, of shape .batch, 2"):
        decode_predictions(np.zeros((1, 3)), model=model)
