"""Updates that Keras optimizers apply: noted, and not traced op by op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keras.src.optimizers import base_optimizer, loss_scale_optimizer

from gradaudit.tracing.patches import Patches


@dataclass
class Updates:
    """What optimizers were given: the ids of the handles of variables whose gradient was applied."""

    applied: set[int] = field(default_factory=set)
    optimizers: list[str] = field(default_factory=list)

    def install(self, patches: Patches) -> None:
        """Stand in for the optimizers of Keras."""
        patches.wrap(base_optimizer.BaseOptimizer, "apply", self._apply)
        # It has an `apply` of its own, with a condition around the inner optimizer's.
        patches.wrap(loss_scale_optimizer.LossScaleOptimizer, "apply", self._apply)

    def _apply(
        self, original: Callable[..., None], optimizer: Any, grads: Any, trainable_variables: Any = None
    ) -> None:
        variables = optimizer._trainable_variables if trainable_variables is None else trainable_variables
        for gradient, variable in zip(list(grads), list(variables), strict=True):
            if gradient is not None:
                self.applied.add(id(variable.handle))
        name = type(optimizer).__name__
        if name not in self.optimizers:
            self.optimizers.append(name)
