"""What is audited: a train step and the inputs that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from gradaudit.errors import SubjectError


@dataclass(frozen=True, init=False)
class Subject:
    """A train step to audit.

    Attributes:
        step: any callable that differentiates (GradientTape or tf.gradients) and updates.
        inputs: its positional arguments: nests of TensorSpecs, arrays or tensors, of which only shape and dtype count;
            anything else in them is passed as it is.
        variables: those that ought to train. None for every trainable variable that the step reads, or, of a Keras
            model, its `trainable_variables`.
        name: what the report calls it.
        model: the Keras model whose step this is, if it is one.
        batches: real values of the first input, if there are any; only a probe reads them.
    """

    step: Callable[..., Any]
    inputs: tuple[Any, ...]
    variables: tuple[Any, ...] | None
    name: str | None
    model: Any
    batches: Iterable[Any] | None

    def __init__(
        self,
        step: Callable[..., Any],
        inputs: Sequence[Any],
        *,
        variables: Sequence[Any] | None = None,
        name: str | None = None,
        model: Any = None,
        batches: Iterable[Any] | None = None,
    ) -> None:
        if not callable(step):
            raise SubjectError(f"step must be callable, not {type(step).__name__}: pass the function that trains.")
        if not isinstance(inputs, (list, tuple)):
            raise SubjectError(
                f"inputs must be a list or tuple of the step's arguments, not {type(inputs).__name__}: write [batch]."
            )
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "inputs", tuple(inputs))
        object.__setattr__(self, "variables", None if variables is None else tuple(variables))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "batches", batches)

    @classmethod
    def from_keras(cls, model: Any, batch: Any) -> Subject:
        """The step that `model.fit` runs.

        Args:
            model: a compiled Keras model; it need not be built.
            batch: what `train_step` gets, `(x, y)` or `(x, y, sample_weight)`, of TensorSpecs, arrays or tensors; or a
                `tf.data.Dataset`, of which an audit uses the `element_spec` alone, or a `keras.utils.PyDataset`, of
                which it uses the first batch. What runs real steps goes through the batches of either.

        Raises:
            SubjectError: `model` is no Keras model, or is not compiled; `batch` is a PyDataset without a batch.
        """
        import keras

        if not hasattr(model, "train_step"):
            raise SubjectError(f"model must be a keras.Model, not {type(model).__name__}.")
        if not getattr(model, "compiled", False):
            raise SubjectError(f"The model {model.name!r} is not compiled: call model.compile(...) first.")

        def step(data: Any) -> Any:
            # As fit calls it: through the strategy under which the model was made.
            return model.distribute_strategy.run(model.train_step, args=(data,))

        if hasattr(batch, "element_spec"):
            return cls(step, [batch.element_spec], name=model.name, model=model, batches=batch)
        if isinstance(batch, keras.utils.PyDataset):
            if batch.num_batches == 0:
                raise SubjectError(f"{type(batch).__name__} has no batch: give it data of one batch at least.")
            return cls(step, [batch[0]], name=model.name, model=model, batches=_Batches(batch))
        return cls(step, [batch], name=model.name, model=model)

    @property
    def is_of_keras(self) -> bool:
        """Whether this is the step that Keras gives every compiled model, and none of the user's code."""
        import keras

        return self.model is not None and type(self.model).train_step is keras.Model.train_step

    def build(self) -> None:
        """Build the model as `fit` does before its first step: under a strategy; else the step builds what it calls."""
        if self.model is None or self.model._distribute_strategy is None:
            return
        import keras
        import tensorflow as tf

        def symbolic(value: Any) -> Any:
            if not hasattr(value, "shape"):
                return value
            return keras.KerasTensor(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))

        with self.model.distribute_strategy.scope():
            self.model._symbolic_build(data_batch=tf.nest.map_structure(symbolic, self.inputs[0]))


@dataclass(frozen=True)
class _Batches:
    """The batches of a `keras.utils.PyDataset`, in order."""

    dataset: Any

    def __iter__(self) -> Iterator[Any]:
        number = self.dataset.num_batches
        for index in count() if number is None else range(number):
            yield self.dataset[index]
