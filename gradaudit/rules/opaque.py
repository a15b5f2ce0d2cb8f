"""GA107: a variable that can only be reached through an op that cannot be seen into."""

from gradaudit.rules.rule import Rule

RULE = Rule(code="GA107", title="opaque path", status="opaque", severity="error")
