"""Updates that Keras optimizers apply: noted, and not traced op by op."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from keras.src.optimizers import base_optimizer, loss_scale_optimizer

from gradaudit.errors import TraceError
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.patches import Patches

_REBUILD = "Call compile again, or make a new optimizer, after a change to which variables train."


@dataclass
class Updates:
    """What optimizers were given: the ids of the handles of variables, each with what is applied as its gradient."""

    applied: list[tuple[int, Any]] = field(default_factory=list)
    optimizers: dict[int, tuple[Any, set[int]]] = field(default_factory=dict)
    """By id each optimizer, with the ids of the handles of what it is given a gradient of."""
    without_gradients: list[str] = field(default_factory=list)
    """The optimizers that were given `None` for every variable."""
    _built_with: dict[int, tuple[Any, set[Any]]] = field(default_factory=dict)
    """By the id of an optimizer that was not built yet: the keys of the variables that it was given first."""

    def install(self, patches: Patches) -> None:
        """Stand in for the optimizers of Keras."""
        patches.wrap(base_optimizer.BaseOptimizer, "apply", self._apply)
        patches.wrap(base_optimizer.BaseOptimizer, "apply_gradients", self._apply_gradients)
        # It has an `apply` of its own, with a condition around the inner optimizer's.
        patches.wrap(loss_scale_optimizer.LossScaleOptimizer, "apply", self._apply)
        patches.wrap(loss_scale_optimizer.LossScaleOptimizer, "scale_loss", _scale_loss)

    def _apply(
        self, original: Callable[..., None], optimizer: Any, grads: Any, trainable_variables: Any = None
    ) -> None:
        gradients = list(grads)
        if not gradients:
            return
        variables = self._known_variables(optimizer, gradients, trainable_variables)
        # Keras pairs them as zip does: what has no partner is left out without a word.
        given = [(id(v.handle), g) for g, v in zip(gradients, variables, strict=False) if g is not None]
        self.applied += given
        self.optimizers.setdefault(id(optimizer), (optimizer, set()))[1].update(handle for handle, _ in given)
        if not given:
            self._note_without_gradients(optimizer)

    def _apply_gradients(self, original: Callable[..., Any], optimizer: Any, grads_and_vars: Any) -> Any:
        pairs = list(grads_and_vars)
        if pairs:
            return original(optimizer, pairs)
        # Keras fails to take nothing apart; that nothing is left to be applied is what has to be told.
        self._note_without_gradients(optimizer)
        return optimizer.iterations

    def _note_without_gradients(self, optimizer: Any) -> None:
        name = type(optimizer).__name__
        if name not in self.without_gradients:
            self.without_gradients.append(name)

    def _known_variables(self, optimizer: Any, gradients: Sequence[Any], trainable_variables: Any) -> list[Any]:
        """The variables that are to be updated.

        Raises:
            TraceError: Keras would raise ValueError, because the optimizer was built with other variables.
        """
        if trainable_variables is None:
            if not optimizer.built:
                raise _refusal(
                    optimizer, "it is given gradients without variables, and is not built. Give it the variables too."
                )
            variables = list(optimizer._trainable_variables)
            if len(gradients) != len(variables):
                raise _refusal(
                    optimizer,
                    f"it is given {len(gradients)} gradients without variables, and was built with {len(variables)} "
                    "variables. Give it the variables too.",
                )
            return variables
        variables = list(trainable_variables)
        if optimizer.built:
            known = set(optimizer._trainable_variables_indices)
        else:
            keys = {optimizer._var_key(variable) for variable in variables}
            _, known = self._built_with.setdefault(id(optimizer), (optimizer, keys))
        unknown = [variable for variable in variables if optimizer._var_key(variable) not in known]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            path = getattr(unknown[0], "path", unknown[0].name)
            raise _refusal(
                optimizer,
                f"it is given the gradient of variable {path!r}{more}, and was built without it. {_REBUILD}",
            )
        return variables


def _scale_loss(original: Callable[..., Any], optimizer: Any, loss: Any) -> Any:
    """Scale a loss by what varies, as after the first step, and not by the number that serves until it is built."""
    if optimizer.built:
        return original(optimizer, loss)
    return loss * tf.compat.v1.placeholder(loss.dtype, [], "loss_scale")


def _refusal(optimizer: Any, reason: str) -> TraceError:
    line = running_line(sys._getframe(1))
    where = "" if line is None else f" at {line} in {line.function}"
    return TraceError(
        f"The step fails{where}: Keras raises ValueError in {type(optimizer).__name__}.apply, as {reason}"
    )
