"""GA103: a variable that only participation terms and penalties reach."""

from gradaudit.rules.rule import StatusRule

RULE = StatusRule(code="GA103", title="participation only", status="participation-only", severity="note")
