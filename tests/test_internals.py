"""Private parts of Keras and TensorFlow do what this project uses them for."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import _internals
from regnet_tf._cpu import could_have_onednn
from regnet_tf._internals import (
    StepHook,
    adam_moments,
    all_layers,
    functional_form,
    has_onednn,
    logits_of,
    maker,
    mean_squares,
    override_gradients,
    record_gradients,
    retinanet_label_encoder,
    saved_model_message,
    saving_without_preprocessor,
    stop_recording,
    sublayers,
    variable_index,
)


def test_every_one_has_a_test():
    own = [
        name
        for name, one in inspect.getmembers(_internals, callable)
        if one.__module__ == _internals.__name__
    ]
    assert own and set(own) <= globals().keys()


def gradient(function, x, graph):
    """Gradient of a function, computed eagerly or in a graph."""

    def of(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, unconnected_gradients="zero")

    return (tf.function(of, autograph=False) if graph else of)(tf.constant(x)).numpy()


in_both = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])


@in_both
def test_no_tape_records(graph):
    def square_beside_a_stop(x):
        with tf.GradientTape() as other, stop_recording():
            other.watch(x)
            stopped = tf.square(x)
        assert other.gradient(stopped, x) is None
        return stopped + 3 * x

    assert gradient(square_beside_a_stop, 5.0, graph) == 3


@in_both
def test_recorded_gradients(graph):
    def product(x):
        with stop_recording():
            y = x * x
        return record_gradients(y, (x,), lambda dy: (7 * dy,)) * 2

    assert gradient(product, 5.0, graph) == 14


def test_gradients_of_a_graph_are_overridden_inside_alone():
    def squares(x):
        with override_gradients(Square=lambda node, dy: 100 * dy + node.inputs[0]):
            inside = tf.square(x)
        return inside, tf.square(x)

    with tf.Graph().as_default() as graph:
        x = tf.constant(5.0)
        inside, outside = squares(x)
        assert [one.type for one in graph.get_operations()] == ["Const", "Square", "Square"]
        assert not any(node.attr["_gradient_op_type"].s for node in graph.as_graph_def().node)
        with tf.compat.v1.Session() as session:
            gradients = [tf.gradients(y, x)[0] for y in (inside, outside)]
            assert session.run(gradients) == [105, 10]


def test_gradients_are_overridden_each_time_a_function_is_called():
    @tf.function(autograph=False)
    def square(x):
        with override_gradients(Square=lambda node, dy: 100 * dy):
            return tf.square(x)

    for x in (1.0, 2.0):
        assert gradient(square, x, graph=False) == 100


def test_eager_operations_inside_are_not_recorded():
    def square(x):
        with override_gradients(Square=lambda node, dy: 100 * dy):
            return tf.square(x)

    assert gradient(square, 5.0, graph=False) == 0


@pytest.mark.skipif(not could_have_onednn(), reason="TensorFlow has no oneDNN here")
@pytest.mark.slow
@pytest.mark.parametrize("switch", ["0", "1"])
def test_onednn_is_on_where_it_is_switched_on(run_python, switch):
    """`test_cpus.py` has a training without it."""
    code = "from regnet_tf._internals import has_onednn; print(has_onednn())"
    printed = run_python("-c", code, TF_ENABLE_ONEDNN_OPTS=switch)
    assert printed.split() == [str(switch == "1")]
    assert has_onednn() in (False, True)


def test_graph_of_a_saved_model_is_read(tmp_path):
    module = tf.Module()
    module.function = tf.function(tf.square, input_signature=[tf.TensorSpec(())])
    tf.saved_model.save(module, str(tmp_path))
    message = saved_model_message()
    message.ParseFromString((tmp_path / "saved_model.pb").read_bytes())
    (meta_graph,) = message.meta_graphs
    functions = meta_graph.graph_def.library.function
    assert "Square" in {node.op for one in functions for node in one.node_def}


class Pair(keras.layers.Layer):
    """A layer with two layers in it."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(2, name="first")
        self.second = keras.layers.Dense(2, name="second")

    def call(self, inputs):
        return self.second(self.first(inputs))


def test_layers_inside_layers_and_models():
    inputs = keras.Input((2,))
    pair = Pair()
    inner = keras.Model(inputs, pair(inputs))
    outer = keras.Sequential([inner, keras.layers.Dense(1, name="last")])
    outer.build((None, 2))
    found = all_layers(outer)
    assert {id(one) for one in (outer, inner, pair)} <= {id(one) for one in found}
    assert {"first", "second", "last"} <= {one.name for one in found}
    assert len({id(one) for one in found}) == len(found)
    assert sublayers(pair) == [pair.first, pair.second]


def test_functional_form_of_a_sequential_model():
    inputs = keras.Input((2,))
    inner = keras.Model(inputs, {"a": keras.layers.Dense(1)(inputs), "b": inputs})
    assert functional_form(inner) is inner
    outer = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), inner])
    found = functional_form(outer)
    assert found.layers[-2:] == outer.layers
    assert not isinstance(found, keras.Sequential) and set(found.output) == {"a", "b"}


def test_maker_of_a_tensor_of_a_layer_that_is_called_twice():
    one, other = keras.Input((2,)), keras.Input((2,))
    dense, add = keras.layers.Dense(2), keras.layers.Add()
    first, second = dense(one), dense(other)
    total = add([first, second])
    layer, inputs = maker(first)
    assert layer is dense and len(inputs) == 1 and inputs[0] is one
    layer, inputs = maker(second)
    assert layer is dense and len(inputs) == 1 and inputs[0] is other
    layer, inputs = maker(total)
    assert layer is add and [id(each) for each in inputs] == [id(first), id(second)]


def test_variables_have_indices_as_keras_and_as_tensorflow_names_them():
    variables = [keras.Variable([float(number)]) for number in range(3)]
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(variables)
    assert [variable_index(optimizer, one) for one in variables] == [0, 1, 2]
    assert [variable_index(optimizer, one.value) for one in variables] == [0, 1, 2]


def test_indices_of_variables_on_two_devices(two_devices):
    with two_devices.scope():
        variables = [keras.Variable([float(number)]) for number in range(2)]
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(variables)
    for number, variable in enumerate(variables):
        for part in two_devices.experimental_local_results(variable.value):
            assert variable_index(optimizer, part) == number


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", pytest.param("mixed_bfloat16", marks=pytest.mark.short_floats)],
)
@pytest.mark.parametrize("graph", [False, True])
def test_logits_of_probabilities(graph, dtype):
    values = np.array([[0.5, 200.0, -200.0]])
    for activation in ("softmax", "sigmoid"):
        inputs = keras.Input((3,), dtype="float32")
        layer = keras.layers.Activation(activation, dtype=dtype)
        outputs = keras.layers.Identity(dtype=dtype)(inputs)
        model = keras.Model(inputs, layer(outputs))

        def logits(x, model=model):
            return logits_of(model(x, training=True))

        found = (tf.function(logits) if graph else logits)(tf.constant(values, tf.float32))
        np.testing.assert_array_equal(tf.cast(found, tf.float32), values)


def test_mean_squares_of_rmsprop():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    optimizer = keras.optimizers.RMSprop(0.1, rho=0.75, momentum=0.9)
    optimizer.apply([tf.constant([2.0, 4.0]), tf.constant([6.0])], variables)
    for squares, expected in zip(mean_squares(optimizer), ([1.0, 4.0], [9.0]), strict=True):
        np.testing.assert_allclose(squares, expected)


def test_moments_of_adam():
    variable = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.5, beta_2=0.75)
    optimizer.apply([tf.constant([2.0, 4.0])], [variable])
    mean, square = adam_moments(optimizer, variable)
    np.testing.assert_allclose(mean, [1, 2])
    np.testing.assert_allclose(square, [1, 4])


class Watched(StepHook, keras.optimizers.SGD):
    """Keeps what each update of all variables was given."""

    def __init__(self, **kwargs):
        super().__init__(0.5, **kwargs)
        self.steps = []

    def update_all(self, gradients, variables, learning_rate):
        self.steps.append((len(gradients), len(variables), float(learning_rate)))
        super().update_all(gradients, variables, learning_rate)


def test_hook_of_a_step():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = Watched()
    optimizer.apply([tf.constant([1.0]), tf.constant([2.0])], variables)
    assert optimizer.steps == [(2, 2, 0.5)]
    np.testing.assert_allclose([variable.numpy() for variable in variables], [[0.5], [1.0]])
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer=Watched(), loss="mse", run_eagerly=True)
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    assert model.optimizer.steps == [(2, 2, 0.5)]


@pytest.mark.keras_hub
def test_label_encoder_of_retinanet():
    keras_hub = pytest.importorskip("keras_hub")
    anchors = keras_hub.layers.AnchorGenerator(
        "yxyx", min_level=3, max_level=3, num_scales=1, aspect_ratios=[1.0], anchor_size=2.0
    )
    encode = retinanet_label_encoder(
        anchors, bounding_box_format="yxyx", encoding_format="center_xywh"
    )
    # Anchors of 16 pixels around every 8th pixel: the box is the one around (8, 16), moved by 2.
    boxes = np.array([[[0, 10, 16, 26]]], "float32")
    offsets, classes = encode(np.zeros((1, 32, 32, 3), "float32"), boxes, np.array([[5.0]]))
    place = 1 * 4 + 2
    assert classes[0, place] == 5 and offsets.shape == (1, 16, 4)
    np.testing.assert_allclose(offsets[0, place], [2 / 16, 0, 0, 0], atol=1e-6)
    assert np.sum(np.asarray(classes) == 5) == 1


@pytest.mark.keras_hub
def test_tasks_without_a_preprocessor_are_saved(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ResNetBackbone([64], [7], [64], [1], [1], "basic_block")
    task = keras_hub.models.ImageClassifier(backbone, num_classes=2)
    assert task.preprocessor is None
    with saving_without_preprocessor():
        task.save_to_preset(str(tmp_path))
    assert (tmp_path / "task.json").exists()
    assert not (tmp_path / "preprocessor.json").exists()
