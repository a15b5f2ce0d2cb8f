"""What is asked for: the audits to make, each with its plan and its gate, read before the long work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from gradaudit.errors import ConfigError
from gradaudit.gate.policy import parse_fail_on

if TYPE_CHECKING:
    from gradaudit.config import Plan
    from gradaudit.gating import Gate


@dataclass(frozen=True)
class Run:
    """One audit to make: of the subject that `reference` names, or of a script."""

    plan: Plan
    reference: str
    folder: Path
    gate: Gate
    script: Path | str | None = None
    """A file, or a module."""

    @property
    def name(self) -> str:
        """The scenario, or what is audited where there is none."""
        return self.plan.scenario or self.reference

    @property
    def prefix(self) -> str:
        """What stands before a message about one of several scenarios."""
        return f"{self.plan.scenario}: " if self.plan.scenario else ""


def runs_asked_for(
    subject: str | None,
    config: Path | None,
    scenarios: Sequence[str],
    overrides: Sequence[str],
    fail_on: Sequence[str],
    baseline: Path | None = None,
    *,
    reads_baseline: bool = True,
) -> list[Run]:
    """Read everything that is asked for, so that each mistake in it is told before the long work."""
    from gradaudit.config import ConfigFile, find_config
    from gradaudit.gating import gate_of
    from gradaudit.subject_lookup import check_reference

    path = config if config or subject else find_config(Path.cwd())
    if path is None and subject is None:
        raise ConfigError(
            "There is nothing to audit: no SUBJECT, no --config, and neither a gradaudit.toml nor a pyproject.toml "
            f"with [tool.gradaudit] in {Path.cwd()} or above it. Try: gradaudit trace path/to/file.py:callable"
        )
    file = ConfigFile(path)
    statuses = parse_fail_on([word.strip() for words in fail_on for word in words.split(",")], where="--fail-on")
    is_whole = path is not None and (not scenarios or set(scenarios) >= set(file.scenarios))
    runs = []
    for scenario in dict.fromkeys(scenarios or file.scenarios) or [None]:
        plan = file.plan(scenario, overrides)
        # A path in the file is relative to the file, and one that is typed to where it is typed.
        folder = path.parent if path is not None and subject is None else Path.cwd()
        reference = subject or plan.subject or plan.script
        if reference is None:
            raise ConfigError(file.without_subject)
        script = None
        if subject is None and plan.script is not None:
            script = found_script(plan.script, folder)
            _require_no_settings(plan, file.scenarios)
        else:
            check_reference(reference, folder=folder)
        known = (baseline or plan.baseline) if reads_baseline else None
        gate = gate_of(plan, statuses if fail_on else None, known, is_whole=is_whole)
        runs.append(Run(plan, reference, folder, gate, script))
    return runs


def found_script(script: str, folder: Path) -> Path | str:
    """The file that a script is, named as from here, or the module that `python -m` would find."""
    from gradaudit.user_code import displayed

    file = folder / script
    if file.is_file():
        return Path(displayed(str(file)))
    first, *others = script.split(".")
    is_name = all(part.isidentifier() for part in (first, *others)) and others != ["py"]
    places = [str(place) for place in places_of_modules(folder)]
    if is_name and (PathFinder.find_spec(first, places) or PathFinder.find_spec(first)):
        return script
    raise ConfigError(
        f"There is no script {file}: name the Python file that trains, as for `python`, or a module, as for "
        "`python -m`."
    )


def places_of_modules(folder: Path) -> list[Path]:
    """Where the modules of a project lie, beside those that are installed."""
    return [folder.resolve(), folder.resolve() / "src"]


def _require_no_settings(plan: Plan, scenarios: Sequence[str]) -> None:
    """Check that nothing is asked of a script that it would not get to know of."""
    if scenarios:
        raise ConfigError(
            f"A script has no scenarios, such as {scenarios[0]!r}: it can be run once only, and gets none of the "
            "project's tables. Name a subject, or write a file for each way to train, with its own arguments."
        )
    if plan.changed:
        raise ConfigError(
            f"A script gets none of the project's tables, so that {plan.changed[0]!r} cannot be set: say it in its "
            'arguments, as by --set \'gradaudit.arguments=["--epochs", "1"]\'.'
        )


def require_subjects(runs: Sequence[Run], what: str) -> None:
    """Refuse scripts, for what has to run the audited code more than once."""
    for run in runs:
        if run.script is not None:
            raise ConfigError(f"{what}, and the script {run.reference} can be run once only: name a subject instead.")
