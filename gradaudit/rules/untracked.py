"""GA104: a variable that the loss depends on and no gradient call asks for."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA104", title="untracked variable", status="untracked", severity="error")
