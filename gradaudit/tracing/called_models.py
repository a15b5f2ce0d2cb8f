"""The models and layers that a step calls by themselves, and which of them has a variable."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from keras.src.models.functional import Functional

from gradaudit.graph.suggestion import CalledModel, Idle
from gradaudit.tracing.origins import Origins


class CalledModels:
    """What a step calls by itself, each under a name that code may give it.

    The only one, and the one that `fit` trains, is called `model`.
    """

    def __init__(self, origins: Origins, trained: Any | None) -> None:
        found = [*([] if trained is None else [trained]), *(output.model for output in origins.outputs)]
        self._models = list({id(model): model for model in found}.values())
        self._names: dict[int, str] = {}
        for model in self._models:
            is_the_one = model is trained or len(self._models) == 1
            self._names[id(model)] = "model" if is_the_one else self._unused(re.sub(r"\W", "_", str(model.name)))

    def name(self, model: Any) -> str:
        """What code may call a model."""
        return self._names[id(model)]

    def told(self) -> tuple[CalledModel, ...]:
        """All of them."""
        return tuple(CalledModel(self.name(model), _is_whole(model)) for model in self._models)

    def idle(self, variables: Iterable[tuple[str, Any]], all_variables: Sequence[Any]) -> tuple[Idle, ...]:
        """The variables, each by its path in the report, with what has them."""
        owners: dict[int, str] = {}
        for model in self._models:
            for variable in model.variables:
                owners.setdefault(id(variable), self.name(model))
        alike = Counter((owners.get(id(each)), _name_of(each)) for each in all_variables)
        return tuple(
            Idle(path, _name_of(each), owner := owners.get(id(each)), alike[owner, _name_of(each)] > 1)
            for path, each in variables
        )

    def _unused(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names.values():
            count += 1
            name = f"{wanted}_{count}"
        return name


def _name_of(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name)


def _is_whole(model: Any) -> bool:
    """Whether it was put together from inputs and outputs."""
    return isinstance(model, Functional) or isinstance(getattr(model, "_functional", None), Functional)
