"""The graph of a SavedModel, read from its file, and the operations that servers refuse."""

from pathlib import Path

import tensorflow as tf

from regnet_tf._internals import saved_model_message

#: Prefixes of operations that call Python, or a compiler that a server may not have.
_PYTHON_OR_COMPILER = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "Xla", "_Xla", "TPU", "TF_")
#: Attributes that request the compilation of a function.
_COMPILED = ("_XlaMustCompile", "_XlaCompile", "jit_compile")


def read_graph(path):
    """Returns the protobuf `SavedModel` of a SavedModel's folder.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    file = Path(path) / "saved_model.pb"
    message = saved_model_message()
    try:
        message.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's parsers have no common exception
        raise ValueError(f"{file} is not a SavedModel: {error}") from error
    return message


def signature_names(path: str | Path) -> list[str]:
    """Returns the names of a SavedModel's signatures, sorted, without loading its variables."""
    (meta_graph,) = read_graph(path).meta_graphs
    return sorted(name for name in meta_graph.signature_def if not name.startswith("__"))


def offending_ops(path: str | Path) -> list[str]:
    """Lists the operations that stock TensorFlow Serving refuses to load or to run.

    It refuses operations outside TensorFlow's core and calls of Python. Servers built without a
    compiler also refuse functions that must be compiled with XLA.

    Args:
        path: folder of a SavedModel.

    Returns:
        One line for each, with place, name and fault: "function/node: PyFunc calls Python". The
        list is empty for a graph that any server accepts.
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
    """Whether a node calls a function by the function's name.

    Old graphs have such nodes; their names begin with two underscores.
    """
    return node.op.startswith("__inference")
