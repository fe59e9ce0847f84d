"""OpenVINO IR files, `.xml` with `.bin`, in OpenVINO."""

import json
from pathlib import Path

import numpy as np

from regnet_tf._cpu import available_cores
from regnet_tf._errors import UserError, first_line, import_optional
from regnet_tf._files import FACTS_FILE, LABELS_FILE
from regnet_tf._signal_stack import kept_signal_stack
from regnet_tf.runtimes.runtime import (
    Runtime,
    main_output,
    make_runtime,
    telling,
    the_input,
)

#: Where the texts are in `rt_info`.
_SECTION = "regnet_tf"


def open_openvino(path: Path, threads: int | None = None) -> Runtime:
    """Returns the runtime of an OpenVINO IR; see `open_file`.

    Its texts are in the model's `rt_info`, in the section "regnet_tf". "labels.txt" is a JSON list
    there, because XML does not keep the ends of lines.
    """
    openvino = import_optional("openvino", extra="openvino")
    settings = {
        "INFERENCE_NUM_THREADS": threads or available_cores(),
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would compute in bfloat16
        "PERFORMANCE_HINT": "LATENCY",
    }
    with telling(f"{path} cannot be read"):
        if not path.read_bytes().lstrip().startswith(b"<"):  # OpenVINO reads any format
            raise ValueError("it holds no XML")
        model = openvino.Core().read_model(path)
        with kept_signal_stack():
            request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        source = the_input(path, model.inputs)
        outputs = {_name(port, number): port for number, port in enumerate(model.outputs)}
        places = {name: number for number, name in enumerate(outputs)}
        dtype = source.element_type.to_dtype()
        files = _files(model, path)

    def run(images, output):
        request.infer([images.astype(dtype, copy=False)], share_inputs=True)
        return np.array(request.get_output_tensor(places[output]).data)

    return make_runtime(
        path,
        shape=_sides(source),
        dtype=dtype,
        outputs={name: _sides(port) for name, port in outputs.items()},
        run=run,
        files=files,
    )


def _name(port, number):
    """Returns the name of an output, which may have several, or a number if it has none."""
    return main_output(sorted(port.names)) if port.names else f"output_{number}"


def _sides(port):
    """Returns the shape of an input or output; None for free sides."""
    return tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)


def _files(model, path):
    found = {
        name: model.get_rt_info([_SECTION, name]).astype(str)
        for name in (LABELS_FILE, FACTS_FILE)
        if model.has_rt_info([_SECTION, name])
    }
    if LABELS_FILE in found:
        found[LABELS_FILE] = "".join(f"{name}\n" for name in _listed(found[LABELS_FILE], path))
    return {name: text.encode() for name, text in found.items()}


def _listed(text, path):
    """Returns the names in a JSON list."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{LABELS_FILE} of {path} is damaged: {first_line(error)}") from error
    if not isinstance(names, list):
        raise UserError(f"{LABELS_FILE} of {path} is damaged: it holds no JSON list")
    return names
