"""GA105: a variable that has a gradient which the step never applies."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA105", title="gradient never applied", status="not-updated", severity="error")
