"""Keras's optimizers as a training needs them: with whole gradients, however many devices they come from."""

from __future__ import annotations

from functools import cache

import keras
from keras import ops
from keras.src.optimizers.base_optimizer import BaseOptimizer

from xtts.training.gradient_norms import GradientNorms

_OF_KERAS = {"adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}


class DenseGradients:
    """What an optimizer is mixed with, so that the gradient of an embedding is one tensor.

    TensorFlow gives a row for each token that was looked up. Their norm is not that of their sums, which is what clips
    on the other backends, and on several devices.
    """

    _trainable_variables: list

    def apply(self, grads, trainable_variables=None) -> None:
        """Apply the gradients."""
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        dense = [_dense(gradient, variable) for gradient, variable in zip(grads, variables, strict=True)]
        super().apply(dense, trainable_variables)  # type: ignore[misc]  # an optimizer is the other base


class AcrossReplicas:
    """What an optimizer is mixed with, so that it takes the whole gradient, outside of the replicas.

    Keras's optimizers for TensorFlow want to be called on each replica with a part of the gradient, and add the parts
    up themselves: after they were clipped, each by its own norm. What they are on the other backends assigns to
    variables as such, and a strategy has the variables of all replicas follow.
    """

    _apply_weight_decay = BaseOptimizer._apply_weight_decay
    _backend_update_step = BaseOptimizer._backend_update_step
    _backend_increment_gradient_accumulators = BaseOptimizer._backend_increment_gradient_accumulators


@cache
def optimizer_class(name: str, watch: bool, replicated: bool) -> type[keras.optimizers.Optimizer]:
    """Return an optimizer's class, which keeps its name.

    Args:
        name: `adamw`, `adam` or `sgd`.
        watch: whether it also keeps the norm of each module's gradient.
        replicated: whether it is called once for all replicas of a `tf.distribute` strategy.
    """
    return _mixed(name, *([GradientNorms] if watch else ()), *([AcrossReplicas] if replicated else ()))


def _mixed(name: str, *others: type) -> type[keras.optimizers.Optimizer]:
    of_keras = _OF_KERAS[name]
    return type(of_keras.__name__, (DenseGradients, *others, of_keras), {"__doc__": of_keras.__doc__})


def _dense(gradient, variable):
    if not hasattr(gradient, "indices"):
        return gradient
    return ops.scatter(ops.expand_dims(gradient.indices, -1), gradient.values, tuple(variable.shape))


for _name in _OF_KERAS:
    # So that a model that was saved with it can be loaded.
    keras.saving.register_keras_serializable(package="xtts")(optimizer_class(_name, False, False))
