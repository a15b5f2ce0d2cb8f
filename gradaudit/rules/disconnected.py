"""GA101: a variable that no differentiated loss has a path to."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA101", title="disconnected variable", status="disconnected", severity="error")
