"""GA105: a variable that has a gradient which the step never applies."""

from gradaudit.rules.rule import Rule

RULE = Rule(code="GA105", title="gradient never applied", status="not-updated", severity="error")
