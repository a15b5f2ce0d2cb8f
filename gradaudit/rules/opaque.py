"""GA107: a variable that can only be reached through an op that cannot be seen into."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA107", title="opaque path", status="opaque", severity="error")
