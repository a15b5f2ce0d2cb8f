"""GA107: a variable behind an op that cannot be seen into, and an op at which the step fails."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.verdicts import Finding, UnregisteredOp
from gradaudit.rules.rule import StatusRule, known

RULE = StatusRule(code="GA107", title="opaque path", status="opaque", severity="error")
_FIX = "Replace the op, stop the gradient before it, or give what calls it a gradient with tf.custom_gradient"


def findings(unregistered: Iterable[UnregisteredOp]) -> Iterator[Finding]:
    """A finding for each op that makes a gradient call fail."""
    for op in unregistered:
        at = "" if op.source is None else f" ({op.source})"
        call = "" if op.call is None else f" at {op.call}"
        message = (
            f"the step fails, whatever else is connected: a gradient reaches {op.op_type}{at}, for which TensorFlow "
            f"has registered none, and the gradient call{call} raises LookupError. {_FIX}"
        )
        yield RULE.finding(message, about=(op.op_type,), sources=known(op.source, op.call))
