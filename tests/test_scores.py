"""Scores of classifiers against scikit-learn's, and what is said about them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from regnet_tf._predictors import Predictor
from training.recipes import get_recipe
from training.tasks import Classification, MultiLabel, multilabel, task_of
from training.tasks import scores as scores_of
from training.tasks.classification import results
from training.tasks.notes import about_rare_classes
from training.tasks.samples import Examples, Foremost

RNG = np.random.default_rng(0)
NAMES = tuple("abcdefg")


def of_classes(images=200, classes=7):
    """Labels of classes with very different numbers of images, and probabilities."""
    labels = RNG.choice(classes - 1, images, p=np.array([60, 20, 10, 6, 3, 1]) / 100)
    probabilities = RNG.random((images, classes)).astype("float32")
    probabilities[np.arange(images), labels] += 0.6
    probabilities[:, -1] = 0  # neither true nor predicted
    return labels, probabilities / probabilities.sum(-1, keepdims=True)


def of_sets(images=300, classes=5):
    """Whether images have classes, and probabilities with ties and extremes."""
    has = RNG.random((images, classes)) < np.array([0.5, 0.3, 0.2, 0.1, 0.05])
    has[0] = True
    probabilities = RNG.random((images, classes)) ** 2 * 0.7 + 0.3 * has
    probabilities = np.round(probabilities, 2).astype("float32")
    return has, probabilities


def test_results_of_a_classifier_equal_scikit_learns():
    labels, probabilities = of_classes()
    predicted = probabilities.argmax(-1)
    found = results(labels, probabilities, NAMES)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    expected = metrics.balanced_accuracy_score(labels, predicted)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    expected = metrics.f1_score(labels, predicted, average="macro")
    assert found["macro_f1"] == pytest.approx(expected)
    expected = metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(7))
    assert found["top5_accuracy"] == pytest.approx(expected)
    recalls = metrics.recall_score(labels, predicted, average=None, labels=range(6))
    assert list(found["recall"].values())[:6] == pytest.approx(list(recalls))
    assert found["recall"]["g"] is None and found["support"]["g"] == 0
    assert list(found["support"].values()) == np.bincount(labels, minlength=7).tolist()


@pytest.mark.parametrize("independent", [False, True])
def test_metrics_of_an_epoch_equal_the_results(independent):
    labels, probabilities = of_classes()
    task = Classification(independent)
    parts = [task.measure(labels[n : n + 50], probabilities[n : n + 50]) for n in range(0, 200, 50)]
    named = task.named_metrics(np.concatenate(parts, 1).mean(1))
    assert tuple(named) == task.metrics and task.score in task.metrics
    found = results(labels, probabilities, NAMES)
    for name in task.metrics[1:]:
        assert named[name] == pytest.approx(found[name], rel=1e-5), name
    if independent:
        one_hot = np.eye(7, dtype="float32")[labels]
        expected = keras.losses.binary_crossentropy(one_hot, probabilities).numpy().mean()
    else:
        expected = -np.log(probabilities[np.arange(200), labels]).mean()
    assert named["loss"] == pytest.approx(expected, rel=1e-4)


def test_results_of_several_classes_an_image_equal_scikit_learns():
    has, probabilities = of_sets()
    found = multilabel.results(has, probabilities, NAMES[:5])
    expected = metrics.average_precision_score(has, probabilities, average="macro")
    assert found["mean_average_precision"] == pytest.approx(expected)
    each = metrics.average_precision_score(has, probabilities, average=None)
    assert list(found["average_precision"].values()) == pytest.approx(list(each))
    predicted = probabilities > 0.5
    for average in ("micro", "macro"):
        expected = metrics.f1_score(has, predicted, average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(1 - metrics.hamming_loss(has, predicted))


def test_average_precision_of_an_epoch_is_that_of_binned_scores():
    has, probabilities = of_sets()
    probabilities[0, 0], probabilities[1, 1] = 1, 0  # logits without end
    task = MultiLabel()
    parts = [task.measure(has[n : n + 60], probabilities[n : n + 60]) for n in range(0, 300, 60)]
    named = task.named_metrics(np.concatenate(parts, 1).mean(1))
    assert tuple(named) == task.metrics and task.score in task.metrics
    exact = multilabel.results(has, probabilities, NAMES[:5])
    for name in ("accuracy", "micro_f1", "macro_f1"):
        assert named[name] == pytest.approx(exact[name], rel=1e-5)
    assert named["mean_average_precision"] == pytest.approx(
        exact["mean_average_precision"], abs=0.01
    )
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    binned = -np.floor((16 - np.clip(logits, -16, 16)) * (255 / 32))
    expected = metrics.average_precision_score(has, binned, average="macro")
    assert named["mean_average_precision"] == pytest.approx(expected, abs=1e-3)
    expected = keras.losses.binary_crossentropy(has.astype("float32"), probabilities)
    assert named["loss"] == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-4)


def test_a_class_that_does_not_occur_has_no_average_precision():
    has, probabilities = of_sets()
    has[:, 2] = False
    precisions = scores_of.average_precisions(has, probabilities)
    assert np.isnan(precisions).tolist() == [False, False, True, False, False]
    kept = [0, 1, 3, 4]
    expected = metrics.average_precision_score(has[:, kept], probabilities[:, kept])
    assert scores_of.mean_of_known(precisions) == pytest.approx(expected)


# What looks better than it is.


def one_class(right, wrong, called=0):
    """Results of a network that calls everything one of two classes."""
    labels = np.array([0] * right + [1] * wrong)
    probabilities = np.tile(np.eye(2)[called], (len(labels), 1))
    return results(labels, probabilities, ("cat", "dog"))


def test_a_network_that_calls_everything_one_class_is_told_so():
    found = one_class(40, 10)
    assert found["accuracy"] == 0.8 and found["balanced_accuracy"] == 0.5
    assert found["notes"] == [
        'It calls 50 of 50 images "cat": it has found nothing else.',
        'Always naming the most frequent class, "cat", is right for 40 of 50.',
    ]
    line = Classification().summary(found)
    assert line.startswith("Test accuracy 80.00% (40 of 50 images), balanced accuracy 50.00%. It")
    assert "nothing else" in line and line.count("\n") == 0


def test_one_class_for_nearly_all_images():
    labels = np.array([0] * 40 + [1] * 10)
    probabilities = np.tile([1.0, 0.0], (50, 1))
    probabilities[-2:] = [0, 1]
    found = results(labels, probabilities, ("cat", "dog"))
    assert found["notes"] == ['It calls 48 of 50 images "cat": of the others it has found 2.']


def test_a_good_network_on_rare_classes_is_not_blamed():
    labels = np.array([0] * 96 + [1] * 4)
    found = results(labels, np.eye(2)[labels], ("cat", "dog"))
    assert found["notes"] == [] and found["rare_classes"] == {"dog": 4}
    assert about_rare_classes(found["rare_classes"]) == (
        'This class has fewer than 10 test images, too few to measure: "dog" (4).'
    )
    assert "balanced accuracy 100.00%" in Classification().summary(found)
    even = results(labels[90:98], np.eye(2)[labels[90:98]], ("cat", "dog"))
    assert "balanced" in Classification().summary(even)


def test_balanced_sets_have_one_headline():
    labels = np.arange(40) % 2
    found = results(labels, np.eye(2)[labels], ("cat", "dog"))
    assert Classification().summary(found) == "Test accuracy 100.00% (40 of 40 images)"


def test_networks_that_name_nothing():
    found = multilabel.results(of_sets()[0], np.zeros((300, 5)), NAMES[:5])
    assert "It names no class for any image" in MultiLabel().summary(found)


# The task of a recipe.


def test_tasks_of_recipes():
    recipe = get_recipe("smoke")
    assert task_of(recipe, "class") == Classification()
    assert task_of(recipe, "classes") == MultiLabel()
    binary = recipe.replace({"loss.name": "binary_cross_entropy"})
    assert task_of(binary, "class") == Classification(independent=True)


@pytest.mark.parametrize(
    ("task", "activation"),
    [(Classification(), "softmax"), (Classification(True), "sigmoid"), (MultiLabel(), "sigmoid")],
)
def test_outputs_of_new_networks(task, activation):
    recipe = get_recipe("smoke", {"network.drop_path_rate": 0.25, "network.dropout": 0.4})
    model = task.build_network(recipe.network, recipe.images, ("cat", "dog"))
    assert model.get_layer("head").activation is getattr(keras.activations, activation)
    assert model.layers[1].network.drop_path_rate == 0.25
    assert model.get_layer("dropout").rate == 0.4


# The final test of a network.


def predictor(scores):
    """A network of images whose first pixel is their number."""
    return Predictor(
        name="net",
        classes=scores.shape[1],
        scores=lambda images: scores[np.asarray(images)[:, 0, 0, 0].astype(int)],
        normalized=False,
        preprocessing=None,
        class_names=None,
        image_size=None,
    )


def batches(labels, size=64):
    numbers = np.arange(len(labels), dtype="float32")[:, None, None, None]
    images = tf.data.Dataset.from_tensor_slices(np.tile(numbers, (1, 4, 4, 3)))
    return tf.data.Dataset.zip(images, tf.data.Dataset.from_tensor_slices(labels)).batch(size)


def test_tables_of_a_classifier():
    labels, probabilities = of_classes()
    paths = [f"photos/{number}.jpg" for number in range(200)]
    found = Classification().evaluate(
        predictor(probabilities), batches(labels), paths, NAMES, "title"
    )
    assert found.results == results(labels, probabilities, NAMES)
    header, *rows = found.tables["predictions.csv"]
    assert header[:4] == ("image", "truth", "prediction", "probability") and len(header) == 12
    assert header[-1] == "probability_5"
    best = np.argsort(-probabilities, -1, kind="stable")[:, :5]
    for number, row in enumerate(rows):
        assert row[:2] == (paths[number], NAMES[labels[number]])
        assert list(row[2::2]) == [NAMES[place] for place in best[number]]
        np.testing.assert_allclose(
            np.float64(row[3::2]), probabilities[number, best[number]], atol=1e-6
        )
    header, *rows = found.tables["classes.csv"]
    precision = metrics.precision_score(labels, probabilities.argmax(-1), average=None)
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name.keys() == set(NAMES[:6])
    for number, name in enumerate(NAMES[:6]):
        assert float(by_name[name]["precision"]) == pytest.approx(precision[number], abs=1e-4)
    matrix = metrics.confusion_matrix(labels, probabilities.argmax(-1), labels=range(7))
    _, *rows = found.tables["confusion.csv"]
    assert {(t, p): n for t, p, n in rows} == {
        (NAMES[t], NAMES[p]): matrix[t, p] for t, p in zip(*np.nonzero(matrix), strict=True)
    }


def test_tables_of_several_classes_an_image():
    has, probabilities = of_sets()
    names = NAMES[:5]
    found = MultiLabel().evaluate(predictor(probabilities), batches(has), None, names, "title")
    assert found.results == multilabel.results(has, probabilities, names)
    _, *rows = found.tables["predictions.csv"]
    for number, (image, truth, predicted, shares) in enumerate(rows):
        assert image == number
        assert truth == ";".join(np.array(names)[has[number]])
        assert set(filter(None, predicted.split(";"))) == {
            name for name, score in zip(names, probabilities[number], strict=True) if score > 0.5
        }
        values = [float(one) for one in shares.split(";") if one]
        assert values == sorted(values, reverse=True)
    _, *rows = found.tables["confusion.csv"]
    counts = {(true, predicted): count for true, predicted, count in rows}
    predicted = probabilities > 0.5
    assert counts["a", "a"] == (has[:, 0] & predicted[:, 0]).sum()
    assert counts["a", "b"] == (has[:, 0] & predicted[:, 1] & ~has[:, 1]).sum()


def test_few_examples_of_many():
    """Wrong ones come first, and the right ones are spread over the test."""
    examples, foremost = Examples(10), Foremost(3)
    for number in range(1000):
        examples.offer(number not in (7, 20), number, number)
        foremost.offer(number % 10, number, number)
    shown = examples.items()
    assert shown[:2] == [7, 20] and len(set(shown)) == 10
    assert shown[2:] == sorted(shown[2:]) and max(shown) > 500
    assert foremost.items() == [9, 19, 29]
    wrong = Examples(10)
    for number in range(1000):
        wrong.offer(False, number, number)
    assert wrong.items() == [0, 1, 2, 3, 4]
