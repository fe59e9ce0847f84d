"""What stands in a SavedModel's graph, read from its file."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

#: Operations that call Python, or compilers that a server need not have.
_PYTHON_OR_COMPILER = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "Xla", "_Xla", "TPU", "TF_")
#: Attributes by which a function asks to be compiled.
_COMPILED = ("_XlaMustCompile", "_XlaCompile", "jit_compile")


def read_graph(path) -> saved_model_pb2.SavedModel:
    """The protobuf of a SavedModel's folder.

    Raises:
        ValueError: for a file that is missing or damaged.
    """
    file = Path(path) / "saved_model.pb"
    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString(file.read_bytes())
    except Exception as error:  # the parsers of protobuf have no common exception
        raise ValueError(f"{file} is no SavedModel: {error}") from error
    return message


def offending_ops(path) -> list[str]:
    """What stock TensorFlow Serving would refuse to load or to run.

    That is operations outside of TensorFlow's core, calls of Python, and functions that must be
    compiled with XLA (servers built without a compiler refuse those).

    Args:
        path: folder of a SavedModel.

    Returns:
        For each its place, name and fault: "function/node: PyFunc calls Python"; none for a graph
        that any server takes.
    """
    found = []
    for meta_graph in read_graph(path).meta_graphs:
        graph = meta_graph.graph_def
        found += _of_nodes("graph", graph.node)
        for function in graph.library.function:
            name = function.signature.name
            found += [
                f"{name}: must be compiled with XLA ({key})"
                for key in _COMPILED
                if function.attr[key].b
            ]
            found += _of_nodes(name, function.node_def)
    return found


def _of_nodes(place, nodes):
    for node in nodes:
        where = f"{place}/{node.name}"
        if node.op.startswith(_PYTHON_OR_COMPILER):
            yield f"{where}: {node.op} calls Python or a compiler"
        elif not hasattr(tf.raw_ops, node.op) and not _is_function(node):
            yield f"{where}: {node.op} is outside of TensorFlow's core"
        for key in _COMPILED:
            if key in node.attr and node.attr[key].b:
                yield f"{where}: must be compiled with XLA ({key})"


def _is_function(node):
    """Calls of functions by their own name, as old graphs have them, begin with two underscores."""
    return node.op.startswith("__inference")
