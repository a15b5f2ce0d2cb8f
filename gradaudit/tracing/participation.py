"""Participation terms that are given as expressions over model outputs, and added to what a step differentiates."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.util import tf_decorator

from gradaudit.errors import SubjectError
from gradaudit.spelling import nearest
from gradaudit.tracing.origins import Origins
from gradaudit.tracing.tapes import TapeRecord

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "mean": tf.reduce_mean,
    "sum": tf.reduce_sum,
    "square": tf.square,
    "abs": tf.abs,
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Expression:
    """A term such as `1e-6 * mean(square(pitch))`: numbers, names of model outputs, and a few functions.

    An output whose name is no identifier is written `output("m[0]")`.

    Raises:
        SubjectError: the text is no such expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._body = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise self._refusal(f"it is no expression ({error.msg})") from None
        self.outputs = tuple(dict.fromkeys(self._names(self._body)))
        if not self.outputs:
            raise self._refusal("it names no model output")

    def value(self, tensors: Mapping[str, Any]) -> Any:
        """The term, a scalar, computed from the outputs by name.

        Raises:
            SubjectError: it is no scalar.
        """
        value = self._value(self._body, tensors)
        if value.shape.rank != 0:
            raise self._refusal(f"its shape is {value.shape}, and a term is a scalar: take the mean(...) of it")
        return value

    def _names(self, node: ast.expr) -> list[str]:
        match node:
            case ast.Name(id=name):
                return [name]
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                if not math.isfinite(number):
                    raise self._refusal(f"{ast.unparse(node)} is no number that a term could weigh")
                return []
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._names(operand)
            case ast.BinOp(op=ast.Div(), right=right) if not self._names(right) and self._value(right, {}) == 0:
                raise self._refusal(f"{ast.unparse(node)!r} divides by zero")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._names(left) + self._names(right)
            case ast.Call(func=ast.Name(id="output"), args=[ast.Constant(value=str(output))], keywords=[]):
                return [output]
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
                return self._names(argument)
        raise self._refusal(f"{ast.unparse(node)!r} is not understood")

    def _value(self, node: ast.expr, tensors: Mapping[str, Any]) -> Any:
        match node:
            case ast.Name(id=name) | ast.Call(func=ast.Name(id="output"), args=[ast.Constant(value=name)]):
                return tf.cast(tensors[str(name)], tf.float32)
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(operand=operand):
                return -self._value(operand, tensors)
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](self._value(left, tensors), self._value(right, tensors))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return _FUNCTIONS[name](self._value(argument, tensors))
        raise AssertionError(ast.dump(node))

    def _refusal(self, why: str) -> SubjectError:
        functions = ", ".join(f"{name}(...)" for name in _FUNCTIONS)
        return SubjectError(
            f"The participation term {self.text!r} cannot be read: {why}. Write numbers, names of model outputs (or "
            f'output("name")), + - * / and {functions}, such as 1e-6 * mean(square(pitch)).'
        )


@dataclass
class Participation:
    """Adds terms to the losses that a step differentiates, each where its outputs were recorded.

    `scope` is the name scope that they are computed in.
    """

    expressions: Sequence[Expression]
    scope: str
    _added: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    """The outputs that stand in the graph of a gradient call, recorded or not."""
    _was_asked: bool = False
    """Whether there was a gradient call to which a term could be added."""

    def handing_out(self, origins: Origins) -> HandingOut:
        """What lets the functions of a trace return the outputs that the terms name."""
        return HandingOut(origins, frozenset(name for each in self.expressions for name in each.outputs))

    def of(self, origins: Origins, tape: TapeRecord | None, graph: Any) -> list[Any]:
        """The terms whose outputs stand in `graph`, and were recorded by `tape`; of `tf.gradients`, without a tape."""
        self._was_asked = True
        here = [output for output in origins.outputs if output.tensor.graph is graph]
        self._seen.update(output.name for output in here)
        known = {output.name: output.tensor for output in here if tape is None or output.tensor.op in tape.recorded}
        values = []
        for expression in self.expressions:
            if all(name in known for name in expression.outputs):
                self._added.add(expression.text)
                with tf.name_scope(self.scope), tf.name_scope("_".join(map(_scope_name, expression.outputs))):
                    values.append(expression.value(known))
        return values

    def require_added(self, origins: Origins) -> None:
        """Check that every term found its loss.

        Raises:
            SubjectError: one did not.
        """
        known = tuple(dict.fromkeys(output.name for output in origins.outputs))
        for expression in self.expressions:
            if expression.text in self._added:
                continue
            start = f"The participation term {expression.text!r} cannot be added to a loss: "
            for name in expression.outputs:
                if name not in known:
                    raise SubjectError(
                        f"{start}the step's models have no output {name!r}{nearest(name, known)} "
                        f"They have: {', '.join(known) or 'none'}."
                    )
            if not self._was_asked:
                raise SubjectError(
                    f"{start}every gradient call of the step feeds another loss, or is given the gradients of its "
                    "targets (output_gradients)."
                )
            for name in expression.outputs:
                if name not in self._seen:
                    raise SubjectError(
                        f"{start}output {name!r} is made in a branch or a loop. Call the model outside of it."
                    )
            raise SubjectError(
                f"{start}no tape of a loss records {' and '.join(map(repr, expression.outputs))}. Call the model inside"
                " the `with tf.GradientTape()` block whose loss is differentiated, and outside of tf.recompute_grad."
            )


@dataclass(frozen=True)
class HandingOut:
    """Lets functions also return the named outputs of models that are called in them, for terms computed outside."""

    origins: Origins
    names: frozenset[str]

    def python_function(self, original: Callable[..., Any]) -> Any:
        """The Python of a `tf.function`, which returns the outputs beside its own results."""

        def call(*arguments: Any, **options: Any) -> Any:
            # AutoGraph puts a converted function in the place of what is wrapped.
            results = decorator.__wrapped__(*arguments, **options)
            graph = ops.get_default_graph()
            outputs = [output for output in self.origins.outputs if output.name in self.names]
            return results, {output.name: output.tensor for output in outputs if output.tensor.graph is graph}

        decorator: Any = tf_decorator.make_decorator(original, call)
        return decorator

    def taken(self, returned: Any) -> Any:
        """What the user's function returns. The outputs beside it are noted as those of the graph that called it."""
        results, tensors = returned
        inside = {output.name: output for output in self.origins.outputs}
        self.origins.outputs += [replace(inside[name], tensor=tensor) for name, tensor in tensors.items()]
        return results


def _scope_name(output: str) -> str:
    """An output's name as a name scope may be called."""
    name = "".join(map(_scope_letter, output))
    return name if name[:1].isalnum() or name[:1] == "." else f".{name}"


def _scope_letter(letter: str) -> str:
    if not letter.isascii():
        return f"u{ord(letter):x}"
    return letter if letter.isalnum() or letter in "_.-" else "."
