"""Branches of a graph that cost nothing unless they are taken."""

import tensorflow as tf


def case(index, branches, *inputs):
    """Returns what one of several functions returns; only this one is computed.

    `tf.cond` and `tf.switch_case` put the operations of all branches into one graph, where skipping
    an operation takes some microseconds. That is as long as computing a small one.

    Args:
        index: number of the branch, an int32 scalar; or a truth value, True for the second branch.
        branches: functions of `inputs`, which use no other tensors. Each returns one tensor, all of
            them of the same shape and dtype. A `tf.function` is traced once for all its uses.
        *inputs: tensors.
    """
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]
    traced = [_traced(branch).get_concrete_function(*signature) for branch in branches]
    result = traced[0].structured_outputs
    operation = tf.raw_ops.Case if any(map(_is_stateful, traced)) else tf.raw_ops.StatelessCase
    return operation(
        branch_index=tf.cast(index, tf.int32),
        input=list(inputs),
        Tout=[result.dtype],
        branches=traced,
        output_shapes=[result.shape],
    )[0]


def _traced(branch):
    if hasattr(branch, "get_concrete_function"):
        return branch
    return tf.function(branch, autograph=False)


def _is_stateful(traced):
    return any(operation.op_def.is_stateful for operation in traced.graph.get_operations())
