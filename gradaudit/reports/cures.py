"""Pieces of code for what no task term trains: give the outputs targets, freeze, or let the outputs participate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from gradaudit.graph.report import Audit
from gradaudit.graph.suggestion import WEIGHT, Idle, Step, SuggestedOutput, Suggestion

Piece = tuple[str, tuple[str, ...]]
"""A title, and the lines of code below it."""


def cures(audit: Audit, found: Suggestion) -> tuple[Piece, ...]:
    """The pieces for an audit, in the names that the step's own code would have."""
    freeze = "Freeze the variables: no gradient, no optimizer slots, no drift", tuple(_freezing(found.step))
    if not found.outputs:
        return (freeze,)
    target = "Give the outputs targets, so that their layers learn", tuple(_giving_targets(audit, found))
    title = "Let the outputs participate, which silences the warning and is no training"
    if found.step.is_compiled:
        # A step that Keras gives has no line of the user's to which a term could be added.
        return target, freeze, (f"{title} (in the model's class)", tuple(_overriding(audit, found)))
    return target, freeze, (title, tuple(_participating(audit, found)))


def _freezing(step: Step) -> Iterator[str]:
    by_owner: dict[str | None, list[Idle]] = {}
    for idle in step.idle:
        by_owner.setdefault(None if idle.is_alike else idle.owner, []).append(idle)
    for model in step.models:
        if model.name in by_owner:
            yield from _freezing_in(model.name, by_owner[model.name], step.is_compiled, model.is_whole)
    alike = [idle.path for idle in step.idle if idle.is_alike]
    free = [idle for idle in by_owner.get(None, ()) if not idle.is_alike]
    if free:
        yield from _listed([idle.name for idle in free])
        yield "# what tape.gradient and the optimizer get"
        yield "variables = [each for each in variables if each.name not in never_learn]"
    if alike:
        yield f"# Others have the same names as {', '.join(alike)}:"
        yield "# leave these out where the step lists its variables, or make them with trainable=False."


def _freezing_in(model: str, idle: Sequence[Idle], is_compiled: bool, is_whole: bool) -> Iterator[str]:
    yield from _listed([each.name for each in idle])
    when = ["once the model is built: call it on a batch"] if not is_whole else []
    when += ["before model.compile"] if is_compiled else []
    if when:
        yield f"# {', and '.join(when)}"
    yield f"for variable in {model}.trainable_variables:"
    yield "    if variable.path in never_learn:"
    yield "        variable.trainable = False"


def _giving_targets(audit: Audit, found: Suggestion) -> Iterator[str]:
    if found.step.is_compiled:
        yield "# losses: what compile gets as loss, by output; targets: what fit gets as y, likewise"
        for output in found.outputs:
            yield f"losses{output.found_at.access} = loss_fn"
            yield f"targets{output.found_at.access} = target_values"
        return
    for output, value in _values(found):
        loss = f"loss_fn(targets[{_quoted(output.name)}], {value})"
        yield f"loss += {f'tf.cast({loss}, loss.dtype)' if output.is_other else loss}{_which_loss(audit, output)}"


def _participating(audit: Audit, found: Suggestion, returned: str = "outputs") -> Iterator[str]:
    yield f"with tf.name_scope({_quoted(found.scope)}):"
    for output, value in _values(found, returned):
        cast = f"tf.cast({value}, loss.dtype)" if output.is_other else value
        yield f"    loss += {WEIGHT} * tf.reduce_mean(tf.square({cast})){_which_loss(audit, output)}"


def _overriding(audit: Audit, found: Suggestion) -> Iterator[str]:
    yield "def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):"
    yield "    loss = super().compute_loss(x, y, y_pred, sample_weight, training)"
    for line in _participating(audit, found, "y_pred"):
        yield f"    {line}"
    yield "    return loss"


def _values(found: Suggestion, returned: str = "outputs") -> Iterator[tuple[SuggestedOutput, str]]:
    """The suggested outputs as expressions, of what the only model `returned`, or each of several."""
    for output in found.outputs:
        model = output.found_at.model
        yield output, f"{returned if model == 'model' else f'{model}_{returned}'}{output.found_at.access}"


def _which_loss(audit: Audit, output: SuggestedOutput) -> str:
    """A comment that tells the loss, where several are differentiated."""
    if len(audit.objectives) == 1:
        return ""
    lines = [str(loss.source or loss.name) for loss in audit.objectives if loss.name in output.losses]
    return f"  # the loss of {' and '.join(lines)}"


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return ("never_learn = (", *(f"    {_quoted(name)}," for name in names), ")")


def _quoted(text: str) -> str:
    """A string as Python writes it."""
    return json.dumps(text, ensure_ascii=False)
