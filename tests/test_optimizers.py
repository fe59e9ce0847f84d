"""SGD against numpy, Keras and TensorFlow's own records of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from regnet_tf import SGD


@pytest.mark.parametrize(
    ("momentum", "nesterov", "l2"),
    [(0.9, True, 0.1), (0.9, False, 0.1), (0.0, False, 0.1), (0.9, True, 0.0)],
)
def test_against_numpy(momentum, nesterov, l2):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(5).astype("float32")
    variable = keras.Variable(weights)
    optimizer = SGD(0.1, momentum=momentum, nesterov=nesterov, l2=l2)
    velocity = np.zeros(5)
    for rate in (0.1, 0.1, 0.5, 0.02, 0.02):  # velocity must not remember earlier rates
        gradient = rng.standard_normal(5).astype("float32")
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        gradient = gradient + l2 * weights
        velocity = momentum * velocity + gradient
        weights = weights - rate * (gradient + momentum * velocity if nesterov else velocity)
        np.testing.assert_allclose(variable.numpy(), weights, rtol=1e-5, atol=1e-6)


def test_without_l2_it_is_that_of_keras_at_a_constant_rate():
    variables = [keras.Variable([1.0, -2.0]) for _ in range(2)]
    optimizers = [kind(0.1, 0.9, nesterov=True) for kind in (SGD, keras.optimizers.SGD)]
    for _ in range(4):
        for optimizer, variable in zip(optimizers, variables, strict=True):
            optimizer.apply([variable * 2 + 1], [variable])
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-5)


def test_round_trip():
    optimizer = SGD(0.5, momentum=0.9, nesterov=True, l2=5e-4, undecayed="vectors")
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, SGD)
    assert (copy.l2, copy.momentum, copy.nesterov, copy.undecayed) == (5e-4, 0.9, True, "vectors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"l2": -1}, "`l2` must be"), ({"undecayed": "all"}, "`undecayed` must be one of")],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD(0.1, **arguments)


def test_one_operation_updates_a_variable():
    variables = [keras.Variable(np.ones(3, "float32")) for _ in range(2)]
    optimizer = SGD(0.1, momentum=0.9, nesterov=True)
    optimizer.build(variables)

    @tf.function
    def step(gradient):
        optimizer.apply([gradient, gradient], variables)

    graph = step.get_concrete_function(tf.TensorSpec(3)).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyMomentum") == 2
    assert not {"Mul", "Sub"} & set(kinds)


def test_two_devices_learn_as_one(two_devices):
    """Gradients are added up over replicas before the step."""
    with two_devices.scope():
        variable = keras.Variable([1.0, 2.0])
        optimizer = SGD(0.1, momentum=0.9, nesterov=True)
        optimizer.build([variable])

    @tf.function
    def step():
        def replica():
            optimizer.apply([tf.constant([1.0, -1.0])], [variable])

        two_devices.run(replica)

    step()
    np.testing.assert_allclose(variable.numpy(), [1 - 0.1 * 2 * 1.9, 2 + 0.1 * 2 * 1.9], rtol=1e-6)
