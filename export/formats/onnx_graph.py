"""The ONNX graph of a network: channels-first inside, for images that are channels-last."""

import contextlib
import logging
import warnings
from collections import Counter

import numpy as np
import tensorflow as tf

from regnet_tf._errors import UserError, first_line, import_optional

_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]
_POOLINGS = {"Mean": "GlobalAveragePool", "Max": "GlobalMaxPool"}
#: Operations that conversion to one graph removes.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "ReadVariableOp")


def convert(network, source, opset):
    """Converts a network to ONNX.

    Args:
        network: an `export.network.Network`.
        source: the `export.source.Source` of the network.
        opset: version of ONNX's operators.

    Returns:
        An `onnx.ModelProto`. Its input "images" is uint8 `(batch, image_size, image_size,
        channels)`, levels of 0 to 255, and its outputs are `network.outputs`. The images are
        transposed once. Each convolution is one `Conv`. Equal networks give equal models.

    Raises:
        UserError: if tf2onnx cannot convert the network.
    """
    onnx = import_optional("onnx", extra="onnx")
    converter = import_optional("tf2onnx.convert", extra="onnx")
    run, spec = _levels_function(network, source.preprocessing)
    with _silence():
        try:
            model, _ = converter.from_function(
                run,
                input_signature=[spec],
                opset=opset,
                custom_rewriter=[_channels_first],
            )
            _score_channels_last(model.graph, onnx)
            _sort(model.graph, network.outputs)
            _rename(model.graph, network.layers)
            _infer_shapes(model, onnx)
        except Exception as error:  # the converter may raise any exception
            raise UserError(
                f"{source.name} cannot be converted to ONNX: {first_line(error)}"
            ) from error
    return model


def refused_operations(network, source, opset):
    """Lists the operations of a network that tf2onnx cannot convert: "layer: operation".

    Operations on constants alone do not count, since their results are constants of the file.
    """
    handler = import_optional("tf2onnx.handler", extra="onnx")
    import_optional("tf2onnx.convert", extra="onnx")  # registers the operations
    known = {*handler.tf_op.create_mapping(opset, None), *_CALLS}
    run, _ = _levels_function(network, source.preprocessing)
    graph = run.get_concrete_function().graph
    return [f"{name}: {kind}" for name, kind in _operations(graph) if kind not in known]


def _levels_function(network, preprocessing):
    """Returns a function from levels to a dict of the network's outputs, and its input's spec."""
    size, channels = preprocessing.image_size, network.channels
    traced = network.traced(None, (size, size))
    scale, offset = (np.tile(one, size) for one in preprocessing.scale_and_offset())
    spec = tf.TensorSpec((None, size, size, channels), tf.uint8, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def run(images):
        images = tf.cast(images, tf.float32)
        if (scale != 1).any() or offset.any():
            # Products of whole rows are several times faster than those of single pixels.
            rows = tf.reshape(images, (-1, size, size * channels)) * scale + offset
            images = tf.reshape(rows, (-1, size, size, channels))
        return traced(images)

    return run, spec


def _channels_first(graph, operations):
    """Rewriter for tf2onnx: expresses operations on feature maps by channels-first ones.

    Without it, tf2onnx transposes whole feature maps in squeeze-and-excitation and in heads.
    """
    for node in operations:
        if node.type in _POOLINGS:
            _pool(graph, node)
        elif node.type == "Mul":
            _gate(graph, node)
        elif node.type in ("MatMul", "BatchMatMulV2"):
            _classify_pixels(graph, node)
        elif node.type in ("ResizeBilinear", "ResizeNearestNeighbor"):
            _resize(graph, node)
    return graph.get_nodes()


def _pool(graph, node):
    """Takes the mean or the maximum of each channel from a channels-first map."""
    axes = node.inputs[1]
    if graph.get_rank(node.input[0]) != 4 or not axes.is_const():
        return
    if sorted(axes.get_tensor_value(as_list=False).ravel() % 4) != [1, 2]:
        return
    keeps = node.get_attr_value("keep_dims")
    (maps,) = graph.make_node("Transpose", [node.input[0]], {"perm": _TO_NCHW}).output
    if graph.opset < 18:  # where tf2onnx would transpose a reduction again
        (pooled,) = graph.make_node(_POOLINGS[node.type], [maps]).output
        if not keeps:
            pooled = _builder(graph).make_squeeze({"data": pooled, "axes": [2, 3]})
    else:
        make = getattr(_builder(graph), f"make_reduce_{node.type.lower()}")
        pooled = make({"data": maps, "axes": [2, 3], "keepdims": int(keeps)})
    if keeps:
        (pooled,) = graph.make_node("Transpose", [pooled], {"perm": _TO_NHWC}).output
    _replace(graph, node, pooled)


def _gate(graph, node):
    """Multiplies a channels-first map by gates, which are reshaped from `(batch, channels)`."""
    for place, reshape in enumerate(node.inputs):
        shape = graph.get_shape(node.input[place])
        if reshape.type != "Reshape" or not shape or shape[1:3] != [1, 1]:
            continue
        gates, maps = reshape.input[0], node.input[1 - place]
        if graph.get_rank(gates) == 2 and graph.get_shape(gates)[1:] == shape[3:]:
            gates = _builder(graph).make_unsqueeze({"data": gates, "axes": [2, 3]})
            (maps,) = graph.make_node("Transpose", [maps], {"perm": _TO_NCHW}).output
            products = graph.make_node("Mul", [maps, gates]).output
            (products,) = graph.make_node("Transpose", products, {"perm": _TO_NHWC}).output
            _replace(graph, node, products)
            return


def _classify_pixels(graph, node):
    """Makes a `Dense` layer on feature maps a convolution.

    Keras 3.12 multiplies the maps by the kernel. Later versions call `tf.tensordot`, which reshapes
    the maps to a matrix and back.
    """
    maps, last, kernel = node.input[0], node, node.inputs[1]
    if "/Tensordot" in node.name:
        after = graph.find_output_consumers(node.output[0])
        if node.inputs[0].type != "Reshape" or [one.type for one in after] != ["Reshape"]:
            return
        maps, last = node.inputs[0].input[0], after[0]
    if graph.get_rank(maps) != 4 or not kernel.is_const():
        return
    values = kernel.get_tensor_value(as_list=False)
    if values.ndim != 2 or any(node.get_attr_value(name, 0) for name in ("adj_x", "adj_y")):
        return
    values = values.T[:, :, None, None]
    shape = [*graph.get_shape(maps)[:3], len(values)]
    kernel = graph.make_const(node.input[1].replace(":0", ":transposed"), values).output[0]
    (maps,) = graph.make_node("Transpose", [maps], {"perm": _TO_NCHW}).output
    (maps,) = graph.make_node("Conv", [maps, kernel], {"kernel_shape": [1, 1]}).output
    (maps,) = graph.make_node("Transpose", [maps], {"perm": _TO_NHWC}).output
    for one in graph.find_output_consumers(last.output[0]):
        if one.type in ("Add", "AddV2", "BiasAdd"):  # TensorFlow did not know the size
            graph.set_shape(one.output[0], shape)
    _replace(graph, last, maps)


def _resize(graph, node):
    """Makes tf2onnx resize to a size, where a factor would round to another size."""
    shape, size = graph.get_shape(node.input[0]), node.inputs[1]
    if (
        size.is_const()
        and shape
        and any(
            old < 1 or new % old
            for new, old in zip(size.get_tensor_value(), shape[1:3], strict=True)
        )
    ):
        variable = graph.make_node("Identity", [node.input[1]]).output[0]
        graph.replace_input(node, node.input[1], variable, 1)


def _replace(graph, node, output):
    graph.replace_all_inputs(node.output[0], output)
    graph.remove_node(node.name)


def _builder(graph):
    return import_optional("tf2onnx.graph_builder").GraphBuilder(graph)


def _score_channels_last(graph, onnx):
    """Makes maps of probabilities from transposed logits, instead of transposing both.

    It is also faster: ONNX Runtime's softmax along another axis than the last transposes twice.
    """
    makers = {name: node for node in graph.node for name in node.output}
    logits, scores = makers.get("logits"), makers.get("probabilities")
    if not logits or not scores or {logits.op_type, scores.op_type} != {"Transpose"}:
        return
    activation = makers[scores.input[0]]
    if list(activation.input) != list(logits.input):
        return
    graph.node.remove(scores)
    graph.node.remove(activation)
    graph.node.append(onnx.helper.make_node(activation.op_type, ["logits"], ["probabilities"]))


def _sort(graph, outputs):
    """Sorts outputs, nodes and constants; tf2onnx's order depends on the numbers in its names."""
    graph.output.sort(key=lambda output: outputs.index(output.name))
    makers = {name: node for node in graph.node for name in node.output}
    constants = {one.name: one for one in graph.initializer}
    order: dict = {}  # of names, each after those it is made from
    waiting = [one.name for one in reversed(graph.output)]
    while waiting:
        name = waiting[-1]
        node = makers.get(name)
        before = [one for one in reversed(node.input) if one not in order] if node else []
        waiting.extend(before)
        if not before:
            order[waiting.pop()] = None
    nodes = {id(makers[name]): makers[name] for name in order if name in makers}
    for values, those in (
        (graph.node, nodes.values()),
        (graph.initializer, [constants[name] for name in order if name in constants]),
    ):
        copies = [type(one).FromString(one.SerializeToString()) for one in those]
        del values[:]
        values.extend(copies)


def _rename(graph, layers):
    """Names nodes by their layers, else by their operations, and tensors by their nodes.

    tf2onnx numbers its names, and the numbers go on from one conversion to the next.
    """
    names = {one.name: one.name for one in (*graph.input, *graph.output)}
    for constant in graph.initializer:
        path = constant.name.removeprefix("PartitionedCall/").partition(":")[0]
        if path.rpartition("/")[0] in layers:
            names[constant.name] = path
    counts: Counter = Counter()
    for node in graph.node:
        node.name = _new_name(_layer(node, names) or node.op_type, counts)
        for name in node.input:
            if name not in names:
                names[name] = _new_name("constant", counts)
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}:{place}" if place else node.name)
    for constant in graph.initializer:
        constant.name = names[constant.name]
    for node in graph.node:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]


def _layer(node, names):
    """Returns the path of the layer whose kernel a node reads, or None."""
    kernels = [path for path in map(names.get, node.input) if path and path.endswith("/kernel")]
    return kernels[0].removesuffix("/kernel") if kernels else None


def _new_name(name, counts):
    counts[name] += 1
    return f"{name}_{counts[name]}" if counts[name] > 1 else name


def _infer_shapes(model, onnx):
    """Declares that the batch size is free, and writes the shapes of all tensors."""
    del model.graph.value_info[:]
    for one in (*model.graph.input, *model.graph.output):
        one.type.tensor_type.shape.dim[0].dim_param = "batch"
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    model.graph.CopyFrom(inferred.graph)


def _operations(graph):
    """Yields name and type of the operations that depend on the graph's images."""
    reached = {tensor.op for tensor in graph.inputs}
    for operation in graph.get_operations():
        if reached.intersection(tensor.op for tensor in operation.inputs):
            reached.add(operation)
            yield operation.name, operation.type
    for function in graph.as_graph_def().library.function:
        for node in function.node_def:
            yield node.name, node.op


@contextlib.contextmanager
def _silence():
    """Silences tf2onnx, which logs what it also raises."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
