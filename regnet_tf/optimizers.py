"""SGD as in PyTorch, with one TensorFlow operation for each variable."""

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import check_choice, check_number
from regnet_tf._internals import StepHook, variable_index


class L2(keras.optimizers.Optimizer):
    """Base class for Keras optimizers that adds weight decay as the gradient of an L2 loss.

    Keras' own `weight_decay` shrinks the variables separately from the gradient. For the same
    number, this is about a tenth of the decay.
    """

    def _init_l2(self, l2, undecayed):
        check_number("l2", l2, minimum=0)
        check_choice("undecayed", undecayed, ("none", "normalization", "vectors"))
        self.l2 = l2
        self.undecayed = undecayed

    def _decayed(self, gradient, variable):
        gradient = ops.cast(gradient, variable.dtype)
        if not self.l2 or variable_index(self, variable) in self._undecayed_indices:
            return gradient
        return gradient + self.l2 * variable

    def build(self, variables):
        super().build(variables)
        exempt = {
            "none": lambda variable: False,
            "normalization": lambda variable: "/norm/" in variable.path,
            "vectors": lambda variable: len(variable.shape) < 2,
        }[self.undecayed]
        self._undecayed_indices = {n for n, variable in enumerate(variables) if exempt(variable)}

    def get_config(self):
        return {**super().get_config(), "l2": self.l2, "undecayed": self.undecayed}


@keras.saving.register_keras_serializable(package="regnet_tf")
class SGD(L2, StepHook, keras.optimizers.SGD):
    """SGD with momentum and L2 regularization, as in `torch.optim.SGD`.

        gradient += l2 * variable
        velocity = momentum * velocity + gradient
        variable -= learning_rate * (gradient + momentum * velocity)   # nesterov
        variable -= learning_rate * velocity                           # otherwise

    Keras' SGD keeps past learning rates in its velocity. Its results therefore differ when the
    learning rate changes. It also takes about ten operations for each variable, which TensorFlow
    traces and optimizes in the first training step. This optimizer takes one, and three more for
    L2.

    Args:
        learning_rate: a float.
        momentum: a float from 0 to 1.
        nesterov: whether to use Nesterov momentum.
        l2: weight decay, at least 0.
        undecayed: variables without weight decay: "none"; "normalization", for the variables of
            normalization layers; or "vectors", for these and biases.
        **kwargs: further arguments of `keras.optimizers.SGD`.
    """

    def __init__(
        self, learning_rate=0.01, momentum=0.0, nesterov=False, l2=0.0, undecayed="none", **kwargs
    ):
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        self._init_l2(l2, undecayed)

    def update_all(self, gradients, variables, learning_rate):
        rate = ops.cast(learning_rate, learning_rate.dtype)  # read once, not for each variable
        if regnet_ops.replicas() > 1 or keras.backend.backend() != "tensorflow":
            super().update_all(gradients, variables, rate)
            return
        for gradient, variable in zip(gradients, variables, strict=True):
            of_keras = isinstance(variable, keras.Variable)
            self.update_step(gradient, variable.value if of_keras else variable, rate)

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(learning_rate, variable.dtype)
        step = self._decayed(gradient, variable)
        if not self.momentum:
            self.assign_sub(variable, rate * step)
            return
        velocity = self.momentums[variable_index(self, variable)]
        regnet_ops.momentum_step(variable, velocity, step, rate, self.momentum, self.nesterov)
