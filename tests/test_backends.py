"""The same network on Keras' other backends, without TensorFlow."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest


def run_network():
    """Outputs, loss of a training step and variables after it, from weights that numpy draws."""
    import keras

    from regnet_tf import BatchNorm, RegNetConfig, StageConfig, build_regnet

    stages = (StageConfig(8, 2, 4),)
    config = RegNetConfig(explicit_stages=stages, se_ratio=0.5, stem_width=8, activation="silu")
    draw = np.random.default_rng(5)
    x = draw.standard_normal((4, 15, 12, 3)).astype("float32")
    model = build_regnet(config, classes=5)
    for variable in sorted(model.variables, key=lambda one: one.path):
        positive = variable.path.endswith(("gamma", "variance"))
        array = draw.uniform(0.5, 1.5, variable.shape)
        variable.assign(array if positive else draw.standard_normal(variable.shape) / 4)
    results = {"outputs": model.predict(x, verbose=0)}
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    results["loss"] = model.train_on_batch(x, np.arange(4))
    for variable in model.variables:
        results[variable.path] = keras.ops.convert_to_numpy(variable.value)
    for pixels in (0, 1):  # fewer than a variance needs
        norm = BatchNorm(name=f"norm_of_{pixels}")
        results[norm.name] = keras.ops.convert_to_numpy(
            norm(np.full((pixels, 1, 1, 2), 3, "float32"), training=True)
        )
        for variable in norm.variables:
            results[f"{norm.name}/{variable.name}"] = keras.ops.convert_to_numpy(variable.value)
    keras.config.set_dtype_policy("mixed_bfloat16")
    short = build_regnet(config, classes=5)
    keras.config.set_dtype_policy("float32")
    short.set_weights(model.get_weights())
    results["short"] = keras.ops.convert_to_numpy(short(x, training=True))
    results["short_inference"] = keras.ops.convert_to_numpy(short(x, training=False))
    return results


@pytest.fixture(scope="module")
def on_tensorflow():
    return run_network()


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_backend_equals_tensorflow(on_tensorflow, run_python, tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    file = tmp_path / "results.npz"
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiling takes longer than running
    printed = run_python(pathlib.Path(__file__), file, KERAS_BACKEND=backend, **quick)
    assert printed.split() == [backend]
    found = np.load(file)
    assert sorted(found) == sorted(on_tensorflow)
    for name, expected in on_tensorflow.items():
        tolerance = 0.05 if name.startswith("short") else 1e-4
        np.testing.assert_allclose(
            found[name], expected, rtol=tolerance, atol=tolerance, err_msg=name
        )


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # it cannot be imported
    import keras

    np.savez(sys.argv[1], **run_network())
    print(keras.backend.backend())
