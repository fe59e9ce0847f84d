"""Quantization to int8: weights and activations in 8 bits, calibrated on images."""

import contextlib
import copy
import os
import re
import warnings

import numpy as np
from regnet_command import without_stderr

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError, import_optional
from regnet_tf.runtimes.tflite import dequantized

from .convert import SIGNATURE, convert
from .flatbuffer import pack_model, read_model, schema

#: Names in squeeze-and-excitation, which stays in float: the error of a gate scales a channel. In 8
#: bits, the gates of a RegNetY cost by far the most accuracy, and they take almost no time.
IN_FLOAT = r"(^|.*[/;])se(_\d+)?/.*"
_LAYER_IMAGES = 16


def quantize(network, source, batch_size, output="float32"):
    """Converts a network to 8-bit integers, except its squeeze-and-excitation.

    The range of an activation is its minimum and maximum over the calibration images. Ranges that
    leave rare values out were worse. Weights have one scale for each output channel.

    Args:
        network: an `export.network.Network`.
        source: the `export.source.Source`, with examples.
        batch_size: number of images in a batch.
        output: output dtype, "float32" or "uint8".

    Returns:
        `(content, layers)`: the content of the file, which takes uint8 images, and a dict for each
        layer with a kernel: "layer" and "error". The error is the root mean square difference of
        the layer's outputs from the float32 outputs, on some of the images. It is relative to the
        standard deviation of the float32 outputs.

    Raises:
        UserError: if the network cannot be converted.
    """
    quantizer = import_optional("litert_quantizer", extra="export")
    calibrator = import_optional("litert_quantizer.calibrator")
    recipes = import_optional("litert_quantizer.recipe")
    manager = import_optional("litert_quantizer.recipe_manager").RecipeManager()
    statistics = import_optional("litert_quantizer.utils.qsv_utils")

    content = convert(network, source.preprocessing, batch_size)
    batches = _batches(source.examples.calibration, batch_size)
    (everything,) = recipes.static_wi8_ai8()
    in_float = {"algorithm_key": "no_quantize"}
    recipe = [everything, {**everything, **in_float, "regex": IN_FLOAT}]
    if output == "float32":
        recipe.append({**everything, **in_float, "operation": "OUTPUT"})
    with _silence():
        try:
            manager.load_quantization_recipe(recipe)
            calibration = calibrator.Calibrator(
                content, available_cores(), qsv_update_func=statistics.min_max_update
            )
            requests = [{"images": batch} for batch in batches]
            calibration.calibrate({SIGNATURE: requests}, manager)
            ranges = calibration.get_model_qsvs()
            levels = ranges[_name_of_levels(content)]
            levels["min"], levels["max"] = (
                np.zeros_like(levels["min"]),
                np.full_like(levels["max"], 255),
            )
            result = quantizer.Quantizer(content, recipe).quantize(ranges)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"The network cannot be converted to int8: {error}") from error
        integers = _with_uint8_input(bytes(result.quantized_model))
        layers = _layer_errors(content, integers, batches[: -(-_LAYER_IMAGES // batch_size)])
    if output == "uint8":
        integers = _with_uint8_output(integers)
    return integers, _named(layers, network.layers)


def _name_of_levels(content):
    """Returns the name of the tensor that holds the images as floats."""
    (graph,) = read_model(content, "the float32 file").subgraphs
    (levels,) = graph.operators[0].outputs
    return graph.tensors[levels].name.decode()


def _with_uint8_input(content):
    """Quantizes the uint8 images directly, instead of casting them to float first."""
    types, model = schema(), read_model(content, "the int8 file")
    (graph,) = model.subgraphs
    cast, step = graph.operators[:2]
    graph.tensors[cast.inputs[0]].quantization = quantization = types.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [1.0], [0]
    step.inputs = cast.inputs
    graph.operators.remove(cast)
    return pack_model(model)


def _with_uint8_output(content):
    """Adds a step from int8 to uint8 outputs, which adds 128."""
    types, model = schema(), read_model(content, "the int8 file")
    (graph,) = model.subgraphs
    (index,) = graph.outputs
    signed = graph.tensors[index]
    unsigned = copy.deepcopy(signed)
    unsigned.type, unsigned.name = types.TensorType.UINT8, signed.name + b"_uint8"
    unsigned.quantization.zeroPoint = np.array(signed.quantization.zeroPoint) + 128
    graph.tensors.append(unsigned)
    code = types.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = types.BuiltinOperator.QUANTIZE
    code.version = 1
    model.operatorCodes.append(code)
    operator = types.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [index], [len(graph.tensors) - 1]
    graph.operators.append(operator)
    graph.outputs = operator.outputs
    model.signatureDefs[0].outputs[0].tensorIndex = operator.outputs[0]
    return pack_model(model)


def _batches(images, batch_size):
    """Returns batches of equal size; the last one is filled up with the first images."""
    count = -(-len(images) // batch_size)
    return np.resize(images, (count, batch_size, *images.shape[1:]))


def _layer_errors(floats, integers, batches):
    """Returns a dict: tensor name -> relative error, for convolutions and dense layers."""
    squares: dict[str, list] = {}
    float_outputs, integer_outputs = _Outputs(floats), _Outputs(integers)
    for batch in batches:
        quantized = integer_outputs(batch)
        for name, values in float_outputs(batch).items():
            if name in quantized:
                error = np.square(quantized[name] - values).mean()
                squares.setdefault(name, []).append((error, values.var()))
    means = {name: np.mean(rows, axis=0) for name, rows in squares.items()}
    return {name: float(np.sqrt(error / max(var, 1e-30))) for name, (error, var) in means.items()}


class _Outputs:
    """Function from a batch to the outputs of a file's layers: tensor name -> float32 array."""

    def __init__(self, content):
        litert = import_optional("ai_edge_litert.interpreter", extra="export")
        self._interpreter = litert.Interpreter(
            model_content=content,
            num_threads=available_cores(),
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        details = {one["index"]: one for one in self._interpreter.get_tensor_details()}
        model, kinds = read_model(content, "the file"), schema().BuiltinOperator
        (graph,) = model.subgraphs
        self._outputs = [
            details[operator.outputs[0]]
            for operator in graph.operators
            if model.operatorCodes[operator.opcodeIndex].builtinCode
            in (kinds.CONV_2D, kinds.FULLY_CONNECTED)
        ]

    def __call__(self, images):
        (source,) = self._interpreter.get_input_details()
        self._interpreter.set_tensor(source["index"], images)
        self._interpreter.invoke()
        return {one["name"]: self._value(one) for one in self._outputs}

    def _value(self, details):
        values = self._interpreter.get_tensor(details["index"])
        return dequantized(values, details).astype("float32")


def _named(errors, layers):
    """Returns the errors under the layers' own names, as a list of dicts.

    TensorFlow may add a number to each part of a layer's path.
    """
    found = []
    for layer in layers:
        parts = [rf"{re.escape(part)}(_\d+)?" for part in layer.split("/")]
        pattern = re.compile(rf"(^|[/;]){'/'.join(parts)}/")
        match = next((name for name in errors if pattern.search(name)), None)
        if match is not None:
            found.append({"layer": layer, "error": errors[match]})
    return found


@contextlib.contextmanager
def _silence():
    """Silences the quantizer's output and progress bars."""
    with (
        open(os.devnull, "w") as null,
        contextlib.redirect_stdout(null),
        without_stderr(),
        warnings.catch_warnings(
            action="ignore"
        ),  # the interpreter warns that it keeps all tensors, which is intended here
    ):
        yield
