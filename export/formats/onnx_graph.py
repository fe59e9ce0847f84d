"""The ONNX graph of a network: channels-first inside, for images that are channels-last."""

import contextlib
import logging
import warnings
from collections import Counter

import tensorflow as tf

from regnet_tf._errors import UserError, first_line, import_optional

_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]
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
                inputs_as_nchw=["images"],
                custom_rewriter=[_channels_first],
            )
            _take_channels_last(model.graph, onnx)
            _rename(model.graph, network.layers)
            for unused in [one for one in model.opset_import if one.domain]:
                model.opset_import.remove(unused)
            model.graph.output.sort(key=lambda output: network.outputs.index(output.name))
            _infer_shapes(model, onnx)
            onnx.checker.check_model(model, full_check=True)
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
    size = preprocessing.image_size, preprocessing.image_size
    traced = network.traced(None, size)
    scale, offset = preprocessing.scale_and_offset()
    spec = tf.TensorSpec((None, *size, network.channels), tf.uint8, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def run(images):
        images = tf.cast(images, tf.float32)
        if (scale != 1).any() or offset.any():
            images = images * scale + offset
        return traced(images)

    return run, spec


def _channels_first(graph, operations):
    """Rewriter for tf2onnx: expresses squeeze-and-excitation by channels-first operations.

    Without it, tf2onnx transposes whole feature maps before the means and after the product.
    """
    for node in operations:
        if node.type == "Mean":
            _pool_channels_first(graph, node)
        elif node.type == "Mul":
            _gate_channels_first(graph, node)
    return graph.get_nodes()


def _pool_channels_first(graph, node):
    """Replaces the mean of each channel by a pooling, whose transposition tf2onnx removes."""
    images, axes = node.inputs
    if graph.get_rank(node.input[0]) != 4 or not axes.is_const():
        return
    if sorted(axes.get_tensor_value(as_list=False).ravel() % 4) != [1, 2]:
        return
    builder = import_optional("tf2onnx.graph_builder").GraphBuilder(graph)
    images = graph.make_node("Transpose", [node.input[0]], attr={"perm": _TO_NCHW})
    means = graph.make_node("GlobalAveragePool", images.output).output[0]
    if node.get_attr_value("keep_dims"):
        means = graph.make_node("Transpose", [means], attr={"perm": _TO_NHWC}).output[0]
    else:
        means = builder.make_squeeze({"data": means, "axes": [2, 3]})
    graph.replace_all_inputs(node.output[0], means)
    graph.remove_node(node.name)


def _gate_channels_first(graph, node):
    """Replaces a factor `(batch, 1, 1, channels)` by a transposed `(batch, channels, 1, 1)`."""
    builder = import_optional("tf2onnx.graph_builder").GraphBuilder(graph)
    for place, reshape in enumerate(node.inputs):
        shape = graph.get_shape(node.input[place])
        if reshape.type != "Reshape" or not shape or len(shape) != 4 or shape[1:3] != [1, 1]:
            continue
        gates = reshape.input[0]
        if graph.get_rank(gates) == 2 and graph.get_shape(gates)[1] == shape[3]:
            gates = builder.make_unsqueeze({"data": gates, "axes": [2, 3]})
            gates = graph.make_node("Transpose", [gates], attr={"perm": _TO_NHWC}).output[0]
            graph.replace_input(node, node.input[place], gates, place)


def _take_channels_last(graph, onnx):
    """Puts a transposition in front of the graph, whose images are channels-first."""
    (images,) = graph.input
    _, channels, *size = images.type.tensor_type.shape.dim
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == images.name:
                node.input[place] = "channels_first"
    node = onnx.helper.make_node("Transpose", ["images"], ["channels_first"], perm=_TO_NCHW)
    graph.node.insert(0, node)
    sides = [side.dim_value for side in (*size, channels)]
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", *sides])
    graph.input[0].CopyFrom(images)


def _rename(graph, layers):
    """Names nodes by their layers, else by their operations, and tensors by their nodes.

    tf2onnx numbers its names, and the numbers go on from one conversion to the next.
    """
    names = {one.name: one.name for one in (*graph.input, *graph.output)}
    for constant in graph.initializer:
        path = constant.name.removeprefix("PartitionedCall/").removesuffix(":0")
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
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
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
