"""OpenVINO IR of a network: an `.xml` file with its `.bin` file."""

import contextlib
import functools
import json
import logging
import os
from unittest import mock

import numpy as np
import tensorflow as tf

from regnet_tf._checks import check_choice
from regnet_tf._environment import environment_variables
from regnet_tf._errors import UserError, first_line, import_optional
from regnet_tf._files import LABELS_FILE, replacing
from regnet_tf._signal_stack import kept_signal_stack

from ..descriptions import descriptions
from .base import Format, one_for_each_precision

PRECISIONS = ("float32", "int8")
_EXTRA = "openvino"


def check_openvino(network, source, precisions):
    """Raises the errors that `write_openvino` would raise, and writes nothing.

    Args:
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        precisions: the precisions to write, from `PRECISIONS`.

    Raises:
        ValueError: if a precision is unknown.
        UserError: if a package or the calibration images are missing, or the network has an
            operation that OpenVINO does not have.
    """
    for precision in precisions:
        check_choice("precision", precision, PRECISIONS)
    if "int8" in precisions and source.examples is None:
        raise UserError(
            "OpenVINO int8 needs calibration images. Give --calibration with a folder of"
            " photographs or an .npz file, or omit int8: --precision float32"
        )
    with _kept_to_itself():
        import_optional("openvino", _EXTRA)
        if "int8" in precisions:
            import_optional("nncf", _EXTRA)
    _converted(network, source.preprocessing)


def write_openvino(path, network, source, precision):
    """Writes a network as OpenVINO IR: the graph in `path`, the weights in a `.bin` file.

    The model takes `images` with levels 0 to 255, uint8 `(batch, image_size, image_size,
    channels)`, for any batch. It returns `network.outputs`, by these names and in this order,
    float32. The runtime information `["regnet_tf", "facts.json"]` and `["regnet_tf", "labels.txt"]`
    has the texts of `export.descriptions.descriptions`, each as JSON in one line. A classifier of
    RGB images also has `model_info`, which OpenVINO Model API reads.

    The weights of the float32 file are float32. On processors with bfloat16, OpenVINO computes in
    it by default, with two to three significant digits. To compute in float32, compile the model
    with `{"INFERENCE_PRECISION_HINT": "f32"}`.

    Args:
        path: a `Path` that ends in `.xml`.
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        precision: precision of weights and arithmetic, one of `PRECISIONS`.

    Raises:
        UserError: as `check_openvino`; or if the files cannot be written.
    """
    check_openvino(network, source, [precision])
    openvino = import_optional("openvino", _EXTRA)
    converted = _converted(network, source.preprocessing).clone()
    model = _named(converted, network.outputs, source.name)
    if precision == "int8":
        integers = _quantized(model, source.examples.calibration)
        model = _named(integers, network.outputs, source.name)
    _describe(model, source, network)
    with replacing(path) as graph, replacing(path.with_suffix(".bin")) as weights:
        try:
            openvino.serialize(model, graph, weights)
        except RuntimeError as error:  # it does not say what the file system said
            raise UserError(
                f"{path} could not be written: {first_line(error)}. The disk may be full."
            ) from error
        path.unlink(missing_ok=True)  # an old graph never stands next to new weights


@functools.lru_cache(maxsize=1)
def _converted(network, preprocessing):
    """Returns the `openvino.Model` of a network with its preprocessing's normalization.

    OpenVINO's own converter keeps one `GroupConvolution` for each grouped convolution, and channels
    first from one transposition of the images on.
    """
    openvino = import_optional("openvino", _EXTRA)
    preprocess = import_optional("openvino.preprocess", _EXTRA)
    utils = import_optional("openvino.frontend.tensorflow.utils", _EXTRA)
    size = preprocessing.image_size
    traced = network.traced(None, (size, size))
    version = {"tensorflow": tf.__version__}
    # OpenVINO 2026.4 looks up TensorFlow's version in a way that fails on Python 3.13.
    known = mock.patch.object(utils, "get_environment_setup", lambda _: version, create=True)
    try:
        with _kept_to_itself(), known:
            model = openvino.convert_model(traced)
    except Exception as error:  # the converter may raise any exception
        raise UserError(f"The network cannot be converted to OpenVINO: {_reason(error)}") from error
    builder = preprocess.PrePostProcessor(model)
    images, layout = builder.input(), openvino.Layout("NHWC")
    images.tensor().set_element_type(openvino.Type.u8).set_layout(layout)
    images.model().set_layout(layout)
    steps = images.preprocess().convert_element_type(openvino.Type.f32)
    steps.mean([255 * mean for mean in preprocessing.mean])
    steps.scale([255 * std for std in preprocessing.std])
    return builder.build()


def _reason(error):
    """Returns the line of an OpenVINO error that says what is wrong: which operation it lacks."""
    lines = str(error).splitlines()
    return next((line[3:] for line in lines if line.startswith("-- ")), first_line(error))


@kept_signal_stack()
def _quantized(model, images):
    """Returns a model in 8-bit integers, calibrated on images, uint8.

    The range of an activation is its minimum and maximum over the images, or the mean of each
    image's minimum and maximum. The choice is the one with outputs nearer to the float32 outputs.
    The first is better, unless a few images have much larger activations than the others. NNCF's
    correction of biases made the outputs worse. Squeeze-and-excitation in float did not make them
    better.
    """
    nncf = import_optional("nncf", _EXTRA)
    parameters = import_optional("nncf.quantization.advanced_parameters", _EXTRA)
    ranges = import_optional("nncf.quantization.range_estimator", _EXTRA)

    def quantized(activations):
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in images]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            advanced_parameters=parameters.AdvancedQuantizationParameters(
                disable_bias_correction=True, activations_range_estimator_params=activations
            ),
        )

    known = ranges.RangeEstimatorParametersSet
    try:
        with (
            _kept_to_itself(),
            open(os.devnull, "w") as null,
            contextlib.redirect_stdout(null),  # progress bars
        ):
            nncf.set_log_level(logging.ERROR)
            models = [quantized(one) for one in (known.MINMAX, known.MEAN_MINMAX)]
    except Exception as error:  # NNCF may raise any exception
        raise UserError(f"The network cannot be converted to int8: {_reason(error)}") from error
    expected = _first_outputs(model, images)
    return min(models, key=lambda one: np.square(_first_outputs(one, images) - expected).sum())


def _first_outputs(model, images):
    """Returns a model's first output for images, one by one, in float32 on every processor."""
    openvino = import_optional("openvino", _EXTRA)
    run = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([run(image[None])[0].copy() for image in images])


def _named(model, outputs, name):
    """Returns a model whose names are those of its input and outputs, and numbered operations.

    The converter's own names depend on what the process has converted before.
    """
    openvino = import_optional("openvino", _EXTRA)
    results = [model.output(one).node for one in outputs]
    named = openvino.Model(results, model.get_parameters(), name)
    ends = [*named.inputs, *(result.input_value(0) for result in results)]
    for index, operation in enumerate(named.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        for output in operation.outputs():
            output.get_tensor().set_names(set())
    for output, name in zip(ends, ("images", *outputs), strict=True):
        output.get_tensor().set_names({name})
    return named


def _describe(model, source, network):
    """Adds what other programs need to know about a model."""
    for name, text in descriptions(source, network).items():
        content = text.splitlines() if name == LABELS_FILE else json.loads(text)
        model.set_rt_info(json.dumps(content), ["regnet_tf", name])
    for name, value in _model_info(source, network, model).items():
        model.set_rt_info(value, ["model_info", name])


def _model_info(source, network, model):
    """Returns what OpenVINO Model API reads, if it has a wrapper for the network, else {}.

    Its classifier takes BGR photographs, as OpenCV reads them, and applies a sigmoid to the scores
    of networks for several classes an image. Labels are words, separated by spaces.
    """
    is_classifier = source.labels and len(model.output(0).partial_shape) == 2
    if not is_classifier or network.is_multi_label or network.channels != 3:
        return {}
    is_cubic = source.preprocessing.interpolation == "bicubic"
    return {
        "model_type": "Classification",
        "labels": " ".join("_".join(label.split()) for label in source.labels),
        "reverse_input_channels": "True",
        "resize_type": "crop",
        "interpolation_mode": "CUBIC" if is_cubic else "LINEAR",
    }


@contextlib.contextmanager
def _kept_to_itself():
    """Keeps OpenVINO and NNCF from reaching beyond this program, and this module.

    They tell their makers about their use without asking, unless they run in continuous
    integration. NNCF, and OpenVINO's converter after an error, leave the program's warnings muted.
    """
    logs: list[logging.Logger | logging.Handler] = [logging.root, *logging.root.handlers]
    levels = [log.level for log in logs]
    try:
        with environment_variables({"CI": "true"}):
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _check(job, precision):
    check_openvino(job.network, job.source, [precision])


def _artefacts(job):
    def write(path, precision):
        write_openvino(path, job.network, job.source, precision)

    return one_for_each_precision(job, FORMAT, "xml", write)


FORMAT = Format(
    name="openvino",
    title="OpenVINO",
    folder="openvino",
    what="for Intel's processors, one file for each precision",
    modules=("openvino",),
    extra="openvino",
    artefacts=_artefacts,
    precisions=PRECISIONS,
    check=_check,
)
