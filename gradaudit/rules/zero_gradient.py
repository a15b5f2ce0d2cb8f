"""GA102: a variable whose gradient is zero whatever the inputs and weights."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA102", title="zero gradient", status="zero-gradient", severity="error")
