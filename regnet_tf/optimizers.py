"""SGD and AdamW as in PyTorch, with one TensorFlow operation for each variable."""

import re

import keras
from keras import ops

from regnet_tf import ops as regnet_ops
from regnet_tf._checks import check, check_choice, check_number
from regnet_tf._internals import StepHook, adam_moments, variable_index

_NORM = re.compile(r"/norm(_\d)?/")

#: The values of `undecayed`, with the variables that have no weight decay.
UNDECAYED = {
    "none": lambda variable: False,
    "normalization": lambda variable: bool(_NORM.search(variable.path)),
    "vectors": lambda variable: len(variable.shape) < 2,
}
_STEM = re.compile(r"(?:^|/)stem/")
_BLOCK = re.compile(r"(?:^|/)stage_(\d+)/block_(\d+)/")


def layer_scales(paths, layer_decay):
    """Returns the factor of the learning rate of each variable, as timm groups RegNets.

    The stem is the first layer, each block is one, and everything else is the last layer. The
    factor of a layer is `layer_decay ** (last - layer)`.

    Args:
        paths: paths of all variables of a network.
        layer_decay: factor from each layer to the one before it.

    Returns:
        A list with one float for each path.
    """
    layers = [_layer(path) for path in paths]
    order = {layer: number for number, layer in enumerate(sorted(set(layers), reverse=True))}
    return [float(layer_decay ** order[layer]) for layer in layers]


def _layer(path):
    """Returns the position of a variable's layer; tuples compare by it."""
    if _STEM.search(path):
        return (0,)
    block = _BLOCK.search(path)
    return (1, int(block[1]), int(block[2])) if block else (2,)


class PerVariable(StepHook):
    """Base class for optimizers whose weight decay and learning rate depend on the variable."""

    def _init_groups(self, undecayed, layer_decay, l2=0.0):
        check_number("l2", l2, minimum=0)
        check_choice("undecayed", undecayed, tuple(UNDECAYED))
        check_number("layer_decay", layer_decay, above=0, maximum=1)
        self.undecayed = undecayed
        self.layer_decay = layer_decay
        self.l2 = l2

    def build(self, variables):
        super().build(variables)
        is_exempt = UNDECAYED[self.undecayed]
        self._exempt = [is_exempt(variable) for variable in variables]
        self._scales = layer_scales([variable.path for variable in variables], self.layer_decay)

    def restart(self):
        """Sets the state to a new optimizer's. The learning rate stays.

        Do this when frozen variables are trained from now on. Adam corrects the bias of its first
        steps by the number of steps since the beginning. That is only right for variables whose
        averages began with them.
        """
        for variable in self.variables:
            if variable is not self.learning_rate:
                variable.assign(ops.zeros_like(variable))

    def update_all(self, gradients, variables, learning_rate):
        rate = ops.cast(learning_rate, learning_rate.dtype)  # read once, not for each variable
        if regnet_ops.replicas() > 1 or keras.backend.backend() != "tensorflow":
            super().update_all(gradients, variables, rate)
            return
        for gradient, variable in zip(gradients, variables, strict=True):
            of_keras = isinstance(variable, keras.Variable)
            self.update_step(gradient, variable.value if of_keras else variable, rate)

    def clip_all(self, gradients):
        """Clips the sums over the replicas; each replica returns an equal part of them."""
        replicas = regnet_ops.replicas()
        if replicas == 1 or not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return super().clip_all(gradients)
        clipped = super().clip_all(regnet_ops.sum_over_replicas(gradients))
        return [gradient / replicas for gradient in clipped]

    def _regularized(self, gradient, variable):
        """Returns the gradient with that of the L2 loss."""
        gradient = ops.cast(gradient, variable.dtype)
        if not self.l2 or self._exempt[variable_index(self, variable)]:
            return gradient
        return gradient + self.l2 * variable

    def _rate(self, learning_rate, variable):
        """Returns the learning rate of a variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        scale = self._scales[variable_index(self, variable)]
        return rate if scale == 1 else rate * scale

    def _decay(self, variable, rate):
        """Shrinks a variable by the decoupled weight decay."""
        if self.weight_decay and not self._exempt[variable_index(self, variable)]:
            self.assign_sub(variable, variable * (rate * self.weight_decay))

    def get_config(self):
        own = {"undecayed": self.undecayed, "layer_decay": self.layer_decay, "l2": self.l2}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="regnet_tf")
class SGD(PerVariable, keras.optimizers.SGD):
    """SGD with momentum, as in `torch.optim.SGD` and timm's `SGDW`.

        variable -= learning_rate * weight_decay * variable            # decoupled decay
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
        l2: L2 factor, at least 0: PyTorch's `weight_decay`.
        undecayed: variables without weight decay or L2: "none"; "normalization", for the variables
            of normalization layers; or "vectors", for these and biases.
        layer_decay: factor of the learning rate from each block of a RegNet to the one before it,
            as in timm. The stem counts as a block, and so does everything after the last block.
        **kwargs: further arguments of `keras.optimizers.SGD`, such as `weight_decay` for decoupled
            decay, `global_clipnorm` and `clipvalue`.

    Examples:
        >>> optimizer = regnet_tf.SGD(0.1, momentum=0.9, nesterov=True)
        >>> weight, gradient = keras.Variable([1.0]), keras.ops.ones(1)
        >>> optimizer.apply([gradient], [weight])
        >>> print(f"{float(weight[0]):.2f}")
        0.81
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum=0.0,
        nesterov=False,
        l2=0.0,
        undecayed="none",
        layer_decay=1.0,
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        self._init_groups(undecayed, layer_decay, l2)

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate(learning_rate, variable)
        self._decay(variable, rate)
        step = self._regularized(gradient, variable)
        if not self.momentum:
            self.assign_sub(variable, rate * step)
            return
        velocity = self.momentums[variable_index(self, variable)]
        regnet_ops.momentum_step(variable, velocity, step, rate, self.momentum, self.nesterov)


@keras.saving.register_keras_serializable(package="regnet_tf")
class AdamW(PerVariable, keras.optimizers.AdamW):
    """Adam with decoupled weight decay, as in `torch.optim.AdamW`.

        variable -= learning_rate * weight_decay * variable
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        root = sqrt(square / (1 - beta_2**steps)) + epsilon
        variable -= learning_rate * mean / (1 - beta_1**steps) / root

    Keras' AdamW adds `epsilon` before it corrects the bias of the root. Early steps therefore
    differ where gradients are small. It also takes about twenty operations for each variable. This
    optimizer takes one, and three more for the decay.

    Args:
        learning_rate: a float.
        weight_decay: decoupled weight decay, at least 0.
        beta_1: decay of the mean gradient, a float from 0 to 1.
        beta_2: decay of the mean squared gradient, a float from 0 to 1.
        epsilon: constant added to the root.
        undecayed: variables without weight decay: "none"; "normalization", for the variables of
            normalization layers; or "vectors", for these and biases.
        layer_decay: factor of the learning rate from each block of a RegNet to the one before it,
            as in timm. The stem counts as a block, and so does everything after the last block.
        **kwargs: further arguments of `keras.optimizers.AdamW`, such as `global_clipnorm` and
            `clipvalue`.

    Examples:
        >>> optimizer = regnet_tf.AdamW(0.1, weight_decay=0.5)
        >>> weight, gradient = keras.Variable([1.0]), keras.ops.ones(1)
        >>> optimizer.apply([gradient], [weight])
        >>> print(f"{float(weight[0]):.2f}")
        0.85
    """

    def __init__(
        self,
        learning_rate=0.001,
        weight_decay=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        undecayed="none",
        layer_decay=1.0,
        **kwargs,
    ):
        check("amsgrad", kwargs.get("amsgrad"), not kwargs.get("amsgrad"), "False")
        super().__init__(learning_rate, weight_decay, beta_1, beta_2, epsilon, **kwargs)
        self._init_groups(undecayed, layer_decay)

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate(learning_rate, variable)
        self._decay(variable, rate)
        mean, square = adam_moments(self, variable)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2}
        regnet_ops.adam_step(
            variable, mean, square, gradient, rate, step, epsilon=self.epsilon, **betas
        )

    def get_config(self):
        config = super().get_config()
        del config["l2"]
        return config
