"""Optimizers that also keep the norm of each module's gradient, on every backend and without a step of their own."""

from __future__ import annotations

import keras
from keras import ops


class GradientNorms:
    """What an optimizer of Keras is mixed with: the norms are one more variable of it, written before clipping.

    `fit` and its step stay as they are. With loss scaling, the optimizer inside has the norms, of gradients at their
    true scale; where these are not finite it is not called, and the norms stay those of the step before.

    Attributes:
        modules: names of the model's modules, in the order of the norms.
        gradient_norms: the variable `(modules,)`.
    """

    built: bool

    def build(self, variables) -> None:
        """Create the optimizer's variables, and one for the norms."""
        super().build(variables)  # type: ignore[misc]  # an optimizer is the other base
        owners = [module_of(variable.path) for variable in variables]
        self.modules = tuple(dict.fromkeys(owners))
        self._positions = [[index for index, owner in enumerate(owners) if owner == name] for name in self.modules]
        self.gradient_norms = self.add_variable(  # type: ignore[attr-defined]  # as above
            (len(self.modules),), name="gradient_norms"
        )

    def apply(self, grads, trainable_variables=None) -> None:
        """Note the norms, and apply the gradients."""
        grads = list(grads)
        if not self.built:
            self.build(list(trainable_variables))
        self.gradient_norms.assign(ops.stack([_norm([grads[at] for at in each]) for each in self._positions]))
        super().apply(grads, trainable_variables)  # type: ignore[misc]  # as above


def read_norms(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """Return the norm of each module's gradient in the last step; none if the optimizer does not keep them."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, GradientNorms):
        return {}
    return dict(zip(inner.modules, ops.convert_to_numpy(inner.gradient_norms).tolist(), strict=True))


def module_of(path: str) -> str:
    """Return the name of the module that a variable's path leads through: `xtts/text_encoder/...` is in the encoder."""
    first, _, rest = path.partition("/")
    return rest.partition("/")[0] or first


def _norm(gradients):
    squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients if gradient is not None]
    return ops.sqrt(ops.sum(ops.stack(squares))) if squares else ops.zeros((), "float32")
