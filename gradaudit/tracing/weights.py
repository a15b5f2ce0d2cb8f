"""Weights without memory: variables that have a handle, a shape and a dtype, and no value."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.eager.polymorphic_function import concrete_function
from tensorflow.python.framework import func_graph
from tensorflow.python.ops import resource_variable_ops

from gradaudit.tracing.patches import Patches

SMALL = 64
"""Variables of up to this many elements get a value: scalars, seeds and counters are read while a model is built."""


class WeightlessReadError(Exception):
    """A weight that has no value was read eagerly, so the subject needs real weights."""


class WeightlessVariable(resource_variable_ops.UninitializedVariable):  # type: ignore[misc]  # TensorFlow is untyped
    """A variable without a value, which can be traced and assigned to, and refuses to be read before that.

    TensorFlow itself would answer an eager read of such a variable with a tensor of shape (0,), and comparisons with
    that are silently wrong, so the refusal is what keeps an audit honest.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._has_value = False

    def _refuse_eager_read(self) -> None:
        if context.executing_eagerly() and not self._has_value:
            raise WeightlessReadError(f"variable {self.name.removesuffix(':0')!r} was read while the model was built")

    def _read_variable_op(self, no_copy: bool = False) -> Any:
        self._refuse_eager_read()
        return super()._read_variable_op(no_copy)

    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        self._refuse_eager_read()
        return super().sparse_read(indices, name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        self._refuse_eager_read()
        return super().gather_nd(indices, name)

    def assign(self, *arguments: Any, **options: Any) -> Any:
        if context.executing_eagerly():
            self._has_value = True
        return super().assign(*arguments, **options)

    def assign_add(self, *arguments: Any, **options: Any) -> Any:
        self._refuse_eager_read()
        return super().assign_add(*arguments, **options)

    def assign_sub(self, *arguments: Any, **options: Any) -> Any:
        self._refuse_eager_read()
        return super().assign_sub(*arguments, **options)


class DeferredVariable(WeightlessVariable):
    """A variable that gets its value when it is first read, or a function that reads it is run."""

    def __init__(self, *, first_value: Callable[[], Any], deferred: Deferred, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._first_value = first_value
        self._deferred = deferred
        deferred.by_handle[id(self.handle)] = self

    def take_value(self) -> None:
        """Run the initializer, unless a value is there."""
        if self._has_value:
            return
        self._has_value = True
        self._deferred.given.append(self.name.removesuffix(":0"))
        with tf.init_scope():
            super().assign(tf.cast(self._first_value(), self.dtype))

    def _refuse_eager_read(self) -> None:
        if context.executing_eagerly():
            self.take_value()


@dataclass
class Deferred:
    """The variables of which values are put off, and the names of those that were given theirs after all."""

    by_handle: dict[int, DeferredVariable] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)

    def run_function(
        self, original: Callable[..., Any], function: Any, tensor_inputs: Any, captured_inputs: Any
    ) -> Any:
        """Run a function, with values for the variables that it takes from outside."""
        if context.executing_eagerly():
            for handle in (*tensor_inputs, *captured_inputs):
                if id(handle) in self.by_handle:
                    self.by_handle[id(handle)].take_value()
        return original(function, tensor_inputs, captured_inputs)


@contextlib.contextmanager
def weights_on_demand() -> Iterator[Deferred]:
    """Inside, variables that are made from an initializer take no memory before they are read."""
    deferred = Deferred()

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        return _create(next_creator, deferred, **arguments)

    with Patches() as patches, tf.variable_creator_scope(create):
        patches.wrap(resource_variable_ops, "_variable_handle_from_shape_and_dtype", _unnamed_handle)
        patches.wrap(concrete_function.ConcreteFunction, "_call_flat", deferred.run_function)
        yield deferred


@contextlib.contextmanager
def weights_without_memory() -> Iterator[None]:
    """Inside, variables that are made from an initializer take no memory.

    A variable that is made from a value exists already and stays as it is.

    Raises:
        WeightlessReadError: an op that was run, and not only traced, fails; it may have read such a variable.
    """
    try:
        with Patches() as patches, tf.variable_creator_scope(_create):
            patches.wrap(resource_variable_ops, "_variable_handle_from_shape_and_dtype", _unnamed_handle)
            yield
    except tf.errors.OpError as error:
        raise WeightlessReadError(f"code that was run while the model was built failed: {error.message}") from error


def _unnamed_handle(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Make the handle of a variable under a name that all share.

    TensorFlow keeps a kernel for each name under which one is made, which takes more memory than all else of a variable
    without a value. The variable itself knows its name.
    """
    given = inspect.signature(original).bind(*arguments, **options).arguments
    return original(**{**given, "name": given["name"] if given["graph_mode"] else "weight"})


def _create(next_creator: Callable[..., Any], deferred: Deferred | None = None, **arguments: Any) -> Any:
    initial_value = arguments.get("initial_value")
    if not callable(initial_value):
        return next_creator(**arguments)
    try:
        shape, dtype = _declared(initial_value) or _inferred(initial_value)
    except Exception:  # noqa: BLE001  # an initializer that no graph can hold, as one that asks for numbers
        return next_creator(**arguments)
    dtype = tf.as_dtype(arguments.get("dtype") or dtype)
    if not shape.is_fully_defined() or shape.num_elements() <= SMALL:
        return next_creator(**arguments)
    description = {
        "trainable": True if arguments.get("trainable") is None else arguments["trainable"],
        "name": arguments.get("name"),
        "shape": shape,
        "dtype": dtype,
        "constraint": arguments.get("constraint"),
        "synchronization": arguments.get("synchronization"),
        "aggregation": arguments.get("aggregation"),
    }
    if deferred is None:
        return WeightlessVariable(**description)
    return DeferredVariable(first_value=initial_value, deferred=deferred, **description)


def _declared(initial_value: Callable[[], Any]) -> tuple[tf.TensorShape, Any] | None:
    """Shape and dtype as Keras declares them: its initializer closes over the Keras variable.

    Reading them costs a small part of what running the initializer in a scratch graph does.
    """
    for cell in getattr(initial_value, "__closure__", None) or ():
        owner = cell.cell_contents
        if hasattr(owner, "_shape") and hasattr(owner, "_dtype") and hasattr(owner, "_initialize"):
            return tf.TensorShape(owner._shape), owner._dtype
    return None


def _inferred(initial_value: Callable[[], Any]) -> tuple[tf.TensorShape, Any]:
    """Shape and dtype of what any other initializer returns, asked in a graph so that nothing is computed."""
    with func_graph.FuncGraph("initializer").as_default():
        value = tf.convert_to_tensor(initial_value())
    return value.shape, value.dtype
