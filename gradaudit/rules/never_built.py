"""GA106: a layer that is part of the model and was never built, so that it has no variables to train."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.verdicts import Finding, UnbuiltLayer
from gradaudit.rules.rule import Rule, known

RULE = Rule(code="GA106", title="layer never built", severity="warning")


def findings(layers: Iterable[UnbuiltLayer]) -> Iterator[Finding]:
    """A finding for each of the layers."""
    for layer in layers:
        made_at = "" if layer.source is None else f", made at {layer.source},"
        message = f"{layer.path} ({layer.kind}){made_at} has no variables to train. Call it in the step, or remove it"
        yield RULE.finding(message, about=(layer.path, layer.kind), sources=known(layer.source))
