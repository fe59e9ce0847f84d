"""Figures of runs: what they show, and that nothing in them overlaps."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from training import figures
from training.figures import Scene, Shown, ShownSet
from training.figures.canvas import cleaned, fitted, text_width
from training.figures.curves import robust_limit

LONG = [f"a_very_long_name_of_a_species_that_goes_on_and_on_{n}_of_a_family" for n in range(1000)]
SYNSET = "n01484850"


class Pictures:
    """A network that shows images from 0 to 1, and heat maps of one colour."""

    def picture(self, image):
        return np.round(255 * np.asarray(image)).astype("uint8")

    def heat_map(self, image, class_index):
        return np.full((*image.shape[:2], 3), class_index, "uint8")


def boxes(figure, *groups):
    """Where groups of texts are drawn, as (left, lower, right, upper)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    return [np.array([text.get_window_extent(renderer).extents for text in one]) for one in groups]


def overlaps(found):
    """The number of pairs of boxes that overlap by more than a pixel."""
    low, high = found[:, None, :2], found[:, None, 2:]
    shared = np.minimum(high, found[None, :, 2:]) - np.maximum(low, found[None, :, :2]) > 1
    return (shared.all(-1).sum() - len(found)) // 2


# Confusion.


def test_confusion_is_in_percent_of_the_true_class():
    counts = np.array([[190, 10, 0], [1, 299, 0], [0, 25, 75]])
    figure = figures.confusion(counts, ("ant", "bee", SYNSET), "insects")
    (axes,) = figure.axes
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {
        (0, 0): "95", (1, 0): "5", (0, 1): "<1", (1, 1): ">99", (1, 2): "25", (2, 2): "75"
    }  # fmt: skip
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["ant  (200)", "bee  (300)", "great white shark  (100)"]
    assert "36 of 600 wrong" in figure.get_suptitle()


def test_classes_that_play_no_part_are_left_out():
    counts = np.zeros((1000, 1000), int)
    counts[7, 7], counts[7, 500] = 3, 1
    (axes,) = figures.confusion(counts, [str(n) for n in range(1000)], "few").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["7", "500"]


@pytest.mark.parametrize("classes", [2, 30, 1000])
def test_names_of_a_confusion_do_not_overlap(classes):
    rng = np.random.default_rng(0)
    counts = np.diag(rng.integers(20, 40, classes))
    pairs = rng.integers(0, classes, (2, 5 * classes))
    np.add.at(counts, tuple(pairs), 1)
    figure = figures.confusion(counts, LONG[:classes], "many")
    axes = figure.axes[0] if classes <= 30 else next(a for a in figure.axes if a.texts)
    assert len(axes.get_yticklabels()) == min(classes, 30)
    across, down, numbers = boxes(
        figure, axes.get_xticklabels(), axes.get_yticklabels(), axes.texts
    )
    assert overlaps(across) == overlaps(down) == overlaps(numbers) == 0
    found = np.concatenate([across, down])
    assert found.min() >= 0 and (found[:, 2] <= figure.bbox.width).all()


def test_many_classes_show_what_is_confused_most():
    counts = np.diag(np.full(200, 50))
    for number in range(0, 40, 2):
        counts[number, 150 + number] = 20 - number // 2
    figure = figures.confusion(counts, [f"class {n}" for n in range(200)], "many")
    large, small, listed = (axes for axes in figure.axes)
    names = {label.get_text().split("  ")[0] for label in large.get_xticklabels()}
    assert names == {f"class {n + more}" for n in range(0, 30, 2) for more in (0, 150)}
    assert small.images[0].get_array().shape == (200, 200)
    assert listed.texts[0].get_text() == "class 0  →  class 150"
    assert listed.texts[1].get_text() == "20 of 70"


# Scores of classes.


def test_classes_are_sorted_by_score():
    values = {"cat": 0.5, "dog": None, "ant": 0.25}
    figure = figures.classes(values, {"cat": 4, "dog": 0, "ant": 8}, "pets", "recall", "images")
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [25, 50]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "cat"]
    assert [text.get_text() for text in axes.texts] == ["25 %  (8)", "50 %  (4)"]
    assert "1 without test images" in figure.get_suptitle()


def test_of_many_classes_the_worst_and_the_best_are_drawn():
    values = dict(zip(LONG, np.linspace(0, 1, 1000), strict=True))
    figure = figures.classes(values, dict.fromkeys(LONG, 50), "many", "recall", "images")
    worst, best = ([bar.get_width() / 100 for bar in axes.patches] for axes in figure.axes)
    np.testing.assert_allclose(worst, np.linspace(0, 1, 1000)[:25])
    np.testing.assert_allclose(best, np.linspace(0, 1, 1000)[-25:])
    for found in boxes(figure, *(axes.get_yticklabels() for axes in figure.axes)):
        assert overlaps(found) == 0


# Sheets.


def shown(count, classes):
    image = np.random.default_rng(0).random((8, 8, 3))
    return [Shown(image, n % classes, (n * 3) % classes, 0.9, n) for n in range(count)]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        *((LONG, 20), (LONG, 1), (["W" * 60] * 1000, 9), (["cat", "dog"] * 500, 3)),
        *((["$x_$ {"] * 1000, 3), (["中" * 40] * 1000, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_captions_of_any_length_do_not_overlap(names, count):
    paths = [f"photos/{'deep/' * 20}IMG_{n:05}.jpg" for n in range(count)]
    sheet = figures.Sheet(Pictures(), names, paths)
    figure = sheet.draw(shown(count, 1000), "title " * 40)
    texts = [*figure.texts]  # with the title
    (found,) = boxes(figure, texts)
    pictures = np.array([axes.get_window_extent().extents for axes in figure.axes])
    assert overlaps(np.concatenate([found, pictures])) == 0
    assert found.min() >= 0 and (found[:, 2] <= figure.bbox.width).all()


def test_captions_name_prediction_truth_and_file():
    sheet = figures.Sheet(Pictures(), ("ant", SYNSET), ["a.jpg", "b.jpg"])
    image = np.zeros((8, 8, 3))
    items = [Shown(image, 0, 0, 0.812, 0), Shown(image, 0, 1, 0.6, 1)]
    figure = sheet.draw(items, "insects")
    right, wrong = figure.axes
    texts = [text.get_text() for text in figure.texts]
    assert [one for one in texts if one != "insects"] == [
        *("81% ant", "a.jpg"),
        *("60% great white shark", "is ant", "b.jpg"),
    ]
    assert wrong.spines["top"].get_linewidth() > right.spines["top"].get_linewidth()


def test_captions_of_several_classes():
    sheet = figures.Sheet(Pictures(), ("ant", "bee", "cat"), None)
    item = ShownSet(
        np.zeros((8, 8, 3)), np.array([True, True, False]), np.array([0.9, 0.2, 0.7]), 0
    )
    figure = sheet.draw([item], "title")
    texts = [text.get_text() for text in figure.texts if text.get_text() != "title"]
    assert texts == ["90% ant, 70% cat", "misses 20% bee", "is not 70% cat"]
    assert item.guess == 1 and not item.is_right


def test_heat_maps_are_next_to_the_mistakes():
    items = shown(2, 5)
    sheet = figures.Sheet(Pictures(), LONG, None)
    picture = sheet.draw(items, "title", grad_cam=True).axes[1].images[0].get_array()
    assert picture.shape == (8, 16, 3)
    np.testing.assert_array_equal(picture[:, :8], Pictures().picture(items[1].image))
    assert (picture[:, 8:] == items[1].guess).all()


def test_no_mistakes():
    figure = figures.Sheet(Pictures(), LONG, None).draw([], "mistakes")
    assert "There are none." in [text.get_text() for text in figure.texts]


def test_scenes_show_image_truth_and_prediction():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, (8, 8))
    true[0] = 255
    scenes = [Scene(rng.random((8, 8, 3)), true, 2 - true % 3, n) for n in range(5)]
    sheet = figures.Sheet(Pictures(), ("a", "b", "c"), [f"{n}.png" for n in range(5)])
    figure = sheet.draw_scenes(scenes, "scenes")
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 15
    truth = drawn[1].images[0].get_array()
    assert truth.mask[0].all() and not truth.mask[1:].any()
    np.testing.assert_array_equal(truth[1:], true[1:])
    np.testing.assert_array_equal(drawn[2].images[0].get_array(), 2 - true % 3)
    assert drawn[3].get_title() == "1.png"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


# Texts.


@pytest.mark.parametrize("lines", [1, 2])
@pytest.mark.parametrize("keep", ["both", "end"])
def test_texts_fit(lines, keep):
    for text in (LONG[1], "W" * 99, "ab cd ef gh ij kl mn op qr st uv", "short", "", "中" * 40):
        found = fitted(text, 1.2, 8, lines=lines, keep=keep)
        assert len(found) <= lines
        assert max(text_width(line, 8) for line in found) <= 1.2
        if text_width(text, 8) <= 1.2:
            assert found == [text]
        elif lines == 1 and keep == "end":
            assert found[0][0] == "…" and text.endswith(found[0][1:])
    assert fitted("first second third", 0.9, 8, lines=2) == ["first second", "third"]


def test_texts_that_cannot_be_drawn():
    assert cleaned("a\nb\tc\x00") == "a b c"
    assert cleaned(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == "caf?.jpg"


# Curves.


def history(epochs=30, **changes):
    epoch = np.arange(epochs)
    columns = {
        "loss": 1 + np.exp(-epoch / 6),
        "cross_entropy": 2 * np.exp(-epoch / 6),
        "val_loss": 2.5 * np.exp(-epoch / 7),
        "accuracy": 1 - np.exp(-epoch / 6),
        "val_accuracy": 0.9 - 0.9 * np.exp(-epoch / 7),
        "learning_rate": 0.1 - epoch / 400,
        **changes,
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}


def test_losses_are_comparable():
    """The plain cross-entropy is drawn where the loss has smoothing or weights."""
    rows = history()
    loss = figures.curves(rows, "title").axes[0]
    np.testing.assert_allclose(lines(loss)["training"], [row["cross_entropy"] for row in rows])
    plain = [{k: v for k, v in row.items() if k != "cross_entropy"} for row in rows]
    loss = figures.curves(plain, "title").axes[0]
    np.testing.assert_allclose(lines(loss)["training"], [row["loss"] for row in rows])


def test_a_spike_flattens_nothing():
    spike = 2.5 * np.exp(-np.arange(30) / 7)
    spike[12] = 5000
    loss = figures.curves(history(val_loss=spike), "title").axes[0]
    assert 2.5 < loss.get_ylim()[1] < 2.8
    (mark,) = loss.texts
    assert mark.get_text() == "5e+03" and mark.xy[0] == 13
    calm = figures.curves(history(), "title").axes[0]
    assert calm.get_ylim()[1] > 2.5 and not calm.texts


def test_many_large_losses_make_the_axis_logarithmic():
    spike = 2.5 * np.exp(-np.arange(30) / 7)
    spike[2:12] = 300
    loss = figures.curves(history(val_loss=spike), "title").axes[0]
    assert loss.get_yscale() == "log" and not loss.texts
    assert loss.get_ylim()[1] > 300
    assert figures.curves(history(), "title").axes[0].get_yscale() == "linear"


def test_limits_of_curves():
    values = np.linspace(0, 1, 20)
    assert robust_limit(values) is None
    assert robust_limit(np.append(values, [40, 50])) == pytest.approx(1.06)
    assert robust_limit(np.append(values, np.inf)) == pytest.approx(1.06)
    assert robust_limit(np.array([0.1, 0.2, 9])) is None  # too few to call one an outlier
    assert robust_limit(np.append(values, np.nan)) is None


def test_the_selected_epoch_and_the_score_are_marked():
    rows = history(val_mean_iou=np.linspace(0, 0.58, 30))
    figure = figures.curves(rows, "title", "mean_iou", selected=25)
    assert lines(figure.axes[0])["best epoch, 26"].tolist() == [0, 1]
    assert figure.axes[1].get_title() == "test mean IoU in epoch 26: 50.00 %"
    assert "test mean IoU" in lines(figure.axes[1])
    figure = figures.curves(rows, "title", "loss")
    assert figure.axes[1].get_title().startswith("test loss at the end: 0.0")


def test_balanced_accuracy_is_drawn_where_it_differs():
    same = history(val_balanced_accuracy=0.9 - 0.9 * np.exp(-np.arange(30) / 7))
    assert "balanced test accuracy" not in lines(figures.curves(same, "title").axes[1])
    other = history(val_balanced_accuracy=np.zeros(30))
    assert "balanced test accuracy" in lines(figures.curves(other, "title").axes[1])


def test_one_epoch_is_visible():
    figure = figures.curves(history(1), "title", selected=0)
    for axes in figure.axes[:3]:
        assert axes.get_xlim() == (0.5, 1.5)
        points = [line for line in axes.lines if line.get_marker() == "o"]
        low, high = axes.get_ylim()
        assert points and all(low < line.get_ydata()[0] < high for line in points)


def test_pictures_are_png_by_any_name(tmp_path):
    figures.write_figure(figures.empty_figure((1, 1), "a"), tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
