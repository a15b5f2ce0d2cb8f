"""TOML to settings: finds the project's file, reads it, and applies a scenario.

Only the table `[gradaudit]` (in pyproject.toml: `[tool.gradaudit]`) is gradaudit's. Every other table is the project's
and goes to the subject callable as it stands in the file, with the keys replaced that a scenario or `--set` replaces.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator

from gradaudit.errors import ConfigError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, GRADES, Grade, parse_fail_on
from gradaudit.gate.suppressions import Accepted
from gradaudit.graph.contracts import Contract
from gradaudit.graph.verdicts import Status
from gradaudit.rules.catalogue import RULES
from gradaudit.spelling import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_NAME = "gradaudit.toml"
PYPROJECT_NAME = "pyproject.toml"


class Scenario(BaseModel):
    """One audit of several from one file: a name, and the keys of the file that it replaces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: StrictStr = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)


class _AboutVariables(BaseModel):
    """A statement about variables, by patterns of their paths."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variables: list[StrictStr] = Field(min_length=1)


class MustTrain(_AboutVariables):
    """Variables that a task term has to train, or, with `by`, a term whose name matches."""

    by: StrictStr | None = None


class MustNotFlow(_AboutVariables):
    """Variables to which no gradient may get from a term whose name matches."""

    term: StrictStr


class Frozen(_AboutVariables):
    """Variables that the step may not update."""


class MayBeDisconnected(_AboutVariables):
    """Variables that may be disconnected, for a reason."""

    reason: StrictStr = Field(min_length=1)


class Suppress(BaseModel):
    """Findings that are accepted, for a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: list[StrictStr] = Field(min_length=1)
    reason: StrictStr = Field(min_length=1)
    variables: list[StrictStr] = Field(default_factory=list)
    about: list[StrictStr] = Field(default_factory=list)

    @property
    def accepted(self) -> Accepted:
        """The same for the gate."""
        return Accepted(tuple(self.rule), self.reason, tuple(self.variables), tuple(self.about))

    @field_validator("rule", mode="before")
    @classmethod
    def _may_be_one(cls, rule: Any) -> Any:
        return [rule] if isinstance(rule, str) else rule

    @field_validator("rule")
    @classmethod
    def _are_rules(cls, rule: list[str]) -> list[str]:
        for code in rule:
            _require_rule(code)
        return rule


class Settings(BaseModel):
    """The table `[gradaudit]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: StrictStr | None = None
    script: StrictStr | None = Field(default=None, min_length=1)
    arguments: list[StrictStr] = Field(default_factory=list)
    fail_on: list[StrictStr] = Field(alias="fail-on", default=list(DEFAULT_FAIL_ON))
    participation_scopes: list[StrictStr] = Field(alias="participation-scopes", default=["gradient_participation"])
    scenario: list[Scenario] = Field(default_factory=list)
    must_train: list[MustTrain] = Field(alias="must-train", default_factory=list)
    must_not_flow: list[MustNotFlow] = Field(alias="must-not-flow", default_factory=list)
    frozen: list[Frozen] = Field(default_factory=list)
    may_be_disconnected: list[MayBeDisconnected] = Field(alias="may-be-disconnected", default_factory=list)
    severity: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    suppress: list[Suppress] = Field(default_factory=list)
    baseline: StrictStr | None = None

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """What the table says of the project's training."""
        return (
            *(Contract("must-train", tuple(each.variables), term=each.by) for each in self.must_train),
            *(Contract("must-not-flow", tuple(each.variables), term=each.term) for each in self.must_not_flow),
            *(Contract("frozen", tuple(each.variables)) for each in self.frozen),
            *(
                Contract("may-be-disconnected", tuple(each.variables), reason=each.reason)
                for each in self.may_be_disconnected
            ),
        )

    @field_validator("severity")
    @classmethod
    def _are_severities(cls, severity: dict[str, str]) -> dict[str, str]:
        for code, grade in severity.items():
            _require_rule(code)
            if grade not in GRADES:
                raise ValueError(f"{code} = {grade!r} is no severity; they are: {', '.join(GRADES)}")
        return severity

    @field_validator("scenario")
    @classmethod
    def _names_are_unique(cls, scenarios: list[Scenario]) -> list[Scenario]:
        names = [scenario.name for scenario in scenarios]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two scenarios are called {name!r}; give each its own name")
        return scenarios


@dataclass(frozen=True)
class Plan:
    """What one audit is told: gradaudit's settings, and the project's own tables, both with the scenario applied."""

    scenario: str | None
    subject: str | None
    fail_on: tuple[Status, ...]
    participation_scopes: tuple[str, ...]
    project: dict[str, Any]
    contracts: tuple[Contract, ...] = ()
    changed: tuple[str, ...] = ()
    """The project's keys that the scenario or `--set` replaced."""
    severities: Mapping[str, Grade] = field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()
    baseline: Path | None = None
    script: str | None = None
    """What is run instead of a subject: a file, relative to the configuration, or a module."""
    arguments: tuple[str, ...] = ()
    table: Mapping[str, Any] = field(default_factory=dict)
    """gradaudit's own table with all that, as the file has it, without the scenarios."""


class ConfigFile:
    """A parsed file, or, with `path=None`, the empty one that stands in where a subject is audited without any."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._tables = {} if path is None else _parse(path)
        self._settings = self._validate(_own_table(self._tables, path))

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The names of the file's scenarios, in its order."""
        return tuple(scenario.name for scenario in self._settings.scenario)

    def plan(self, scenario: str | None = None, overrides: Sequence[str] = ()) -> Plan:
        """Apply a scenario's `set`, then the `KEY=VALUE` overrides.

        Raises:
            ConfigError: there is no such scenario, or an override cannot be read or applied.
        """
        tables = copy.deepcopy(self._tables)
        changed = []
        for key, value, where in self._changes(scenario, overrides):
            _replace(tables, key, value, where=where)
            if not f"{key}.".startswith(f"{self._table}."):
                changed.append(key)
        settings = self._validate(_own_table(tables, self.path))
        if settings.scenario != self._settings.scenario:
            raise ConfigError(f"{self._name}: a scenario or --set cannot replace the scenarios themselves.")
        self._require_one_to_audit(settings)
        return Plan(
            scenario=scenario,
            subject=settings.subject,
            fail_on=parse_fail_on(settings.fail_on, where=f"{self._name}: [{self._table}] fail-on"),
            participation_scopes=tuple(settings.participation_scopes),
            project=_without_own_table(tables, self.path),
            contracts=settings.contracts,
            changed=tuple(changed),
            severities={code: cast(Grade, grade) for code, grade in settings.severity.items()},
            accepted=tuple(each.accepted for each in settings.suppress),
            baseline=None if settings.baseline is None else self._beside(settings.baseline),
            script=settings.script,
            arguments=tuple(settings.arguments),
            table={key: value for key, value in _own_table(tables, self.path).items() if key != "scenario"},
        )

    @property
    def without_subject(self) -> str:
        """What to say where no subject is named."""
        tables = _tool_table(self._tables) if _is_pyproject(self.path) else self._tables
        misspelt = [] if "gradaudit" in tables else get_close_matches("gradaudit", tables, n=1)
        hint = f" no table is called gradaudit; is {misspelt[0]!r} meant to be it? Else" if misspelt else ""
        return (
            f"{self._name} names no subject:{hint} write subject = "
            f'"package.module:callable" or script = "train.py" under [{self._table}], or give SUBJECT.'
        )

    def _require_one_to_audit(self, settings: Settings) -> None:
        if settings.subject is not None and settings.script is not None:
            raise ConfigError(f"{self._name}: [{self._table}] names a subject and a script: keep one of the two.")
        if settings.arguments and settings.script is None:
            raise ConfigError(f"{self._name}: [{self._table}] has arguments and no script that would get them.")

    def _beside(self, file: str) -> Path:
        """A path of the file, which is relative to it."""
        return Path(file) if self.path is None else self.path.parent / file

    def _changes(self, scenario: str | None, overrides: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
        if scenario is not None:
            for key, value in self._scenario(scenario).set.items():
                yield key, copy.deepcopy(value), f"{self._name}: scenario {scenario!r}"
        for override in overrides:
            yield *parse_override(override), f"--set {override}"

    def _scenario(self, name: str) -> Scenario:
        for scenario in self._settings.scenario:
            if scenario.name == name:
                return scenario
        if not self.scenarios:
            raise ConfigError(f"There is no scenario {name!r}: {self._name} has no [[{self._table}.scenario]].")
        raise ConfigError(
            f"There is no scenario {name!r} in {self._name}{nearest(name, self.scenarios)} "
            f"It has: {', '.join(self.scenarios)}."
        )

    def _validate(self, table: Any) -> Settings:
        if not isinstance(table, dict):
            raise ConfigError(f"{self._name}: gradaudit must be a table, [{self._table}], not {_shown(table)}.")
        try:
            settings = Settings.model_validate(table)
        except ValidationError as error:
            complaints = [_complaint(detail, self._table) for detail in error.errors()]
            raise ConfigError("\n".join(f"{self._name}: {complaint}" for complaint in complaints)) from None
        parse_fail_on(settings.fail_on, where=f"{self._name}: [{self._table}] fail-on")
        return settings

    @property
    def _name(self) -> str:
        return "the command line" if self.path is None else str(self.path)

    @property
    def _table(self) -> str:
        return "tool.gradaudit" if _is_pyproject(self.path) else "gradaudit"


def read_project(path: Path | str, scenario: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the project's own tables of a file, as gradaudit hands them to the subject callable.

    Raises:
        ConfigError: the file cannot be read, gradaudit's table is wrong, or the scenario or an override does not fit.
    """
    return ConfigFile(Path(path)).plan(scenario, overrides).project


def find_config(folder: Path) -> Path | None:
    """Look upwards for `gradaudit.toml`, or a `pyproject.toml` with `[tool.gradaudit]`; the nearest folder wins."""
    for candidate in (folder, *folder.parents):
        if (candidate / CONFIG_NAME).is_file():
            return candidate / CONFIG_NAME
        pyproject = candidate / PYPROJECT_NAME
        if pyproject.is_file() and "gradaudit" in _tool_table(_parse(pyproject)):
            return pyproject
    return None


def parse_override(override: str) -> tuple[str, Any]:
    """Split `KEY=VALUE`. The value is TOML; a bare word that is no TOML value is taken as a string.

    Raises:
        ConfigError: there is no `=` or no key, or the value was meant as TOML (a list, a table, a quoted string, a
            constant of Python's) and is none.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: write KEY=VALUE, such as --set model.preset=tiny.")
    return key.strip(), _parse_value(text.strip(), override)


def _parse_value(text: str, override: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text[:1] in tuple("[{\"'"):
            raise ConfigError(
                f"--set {override}: the value is no valid TOML ({error}). Strings within lists and tables are quoted, "
                f"""and the shell must see the quotes: --set 'KEY=["a", "b"]'."""
            ) from None
        if text in ("True", "False", "None"):
            # Taken as words these would be strings, and a string "False" counts as true wherever it is asked.
            hint = "leave the key out of the file instead" if text == "None" else f"write {text.lower()}"
            raise ConfigError(f"--set {override}: {text} is Python, not TOML: {hint}.") from None
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


# ------------------------------------------------------------------------------------------------------- reading a file


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no config file {path}{_neighbours(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder: name the TOML file in it.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: TOML must be encoded as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"The config file {path} cannot be read: {error.strerror}.") from None
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_broken(path, text, str(error))) from None
    return tables


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent} either."
    hint = nearest(path.name, sorted(file.name for file in path.parent.glob("*.toml")))
    return hint if hint != "." else ". Check the path, or leave --config out to have one looked for upwards from here."


def _broken(path: Path, text: str, message: str) -> str:
    """Say where a file stops being TOML. The parser tells the line in its message only."""
    lines = text.splitlines()
    match = re.search(r"line (\d+)", message)
    number = int(match[1]) if match else max(len(lines), 1)
    reason = re.sub(r" \(at .*\)$", "", message)
    shown = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"{path}, line {number}: this is no valid TOML: {reason}." + (f"\n    {shown}" if shown else "")


# ------------------------------------------------------------------------------------------------ gradaudit's own table


def _own_table(tables: dict[str, Any], path: Path | None) -> Any:
    if _is_pyproject(path):
        tables = _tool_table(tables)
    return tables.get("gradaudit", {})


def _without_own_table(tables: dict[str, Any], path: Path | None) -> dict[str, Any]:
    if _is_pyproject(path):
        return {**tables, "tool": {name: tool for name, tool in _tool_table(tables).items() if name != "gradaudit"}}
    return {name: table for name, table in tables.items() if name != "gradaudit"}


def _tool_table(tables: dict[str, Any]) -> dict[str, Any]:
    tool = tables.get("tool", {})
    return tool if isinstance(tool, dict) else {}


def _is_pyproject(path: Path | None) -> bool:
    return path is not None and path.name == PYPROJECT_NAME


def _complaint(detail: Any, table: str) -> str:
    """Put one error of pydantic's into the file's own words."""
    location = list(detail["loc"])
    place = f"[{table}]"
    model: type[BaseModel] = Settings
    if location[0] in _TABLES and len(location) > 1:
        place, model = f"[[{table}.{location[0]}]] number {location[1] + 1}", _TABLES[location[0]]
        del location[:2]
    if detail["type"] == "extra_forbidden":
        known = _keys(model)
        return (
            f"{place} has an unknown key {location[-1]!r}{nearest(location[-1], known)} Known keys: {', '.join(known)}."
        )
    if detail["type"] == "missing":
        return f"{place} has no {location[-1]!r}."
    if detail["type"] == "value_error":
        return f"{place}: {detail['ctx']['error']}."
    key = ".".join(str(part) for part in location)
    return (
        f"{place} {key}".rstrip() + f": {_EXPECTED.get(detail['type'], detail['msg'])}, not {_shown(detail['input'])}."
    )


def _require_rule(code: str) -> None:
    codes = [rule.code for rule in RULES]
    if code not in codes:
        raise ValueError(f"{code!r} is no rule{nearest(code, codes)} They are: {', '.join(codes)}")


_TABLES: dict[str, type[BaseModel]] = {
    "scenario": Scenario,
    "must-train": MustTrain,
    "must-not-flow": MustNotFlow,
    "frozen": Frozen,
    "may-be-disconnected": MayBeDisconnected,
    "suppress": Suppress,
}
"""The lists of tables within gradaudit's own."""

_EXPECTED = {
    "too_short": "should name one at least",
    "string_type": "should be a string",
    "string_too_short": "should say something",
    "list_type": "should be a list",
    "dict_type": "should be a table",
    "model_type": "should be a table",
}


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


# ------------------------------------------------------------------------------------------------------- replacing keys


def _replace(tables: dict[str, Any], key: str, value: Any, *, where: str) -> None:
    """Set a dotted key in place.

    A table is merged key by key, because TOML reads a dotted key without quotes as one: it must not wipe out the rest.
    """
    *parents, last = _split(key, where)
    table = tables
    for depth, name in enumerate(parents, start=1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            parent = ".".join(parents[:depth])
            raise ConfigError(f"{where}: {key!r} cannot be set, because {parent!r} is no table but {_shown(table)}.")
    if isinstance(value, dict) and isinstance(table.get(last), dict):
        for name, inner in value.items():
            _replace(table[last], _quoted(name), inner, where=where)
        return
    if isinstance(table.get(last), dict):
        raise ConfigError(
            f"{where}: {key!r} is a table and cannot become {_shown(value)}; set one of its keys: {_list(table[last])}."
        )
    table[last] = value


def _split(key: str, where: str) -> list[str]:
    """Split a dotted key as TOML does, so that a part with a dot in it can be quoted."""
    try:
        nested: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        nested = {}
    parts = []
    while isinstance(nested, dict) and len(nested) == 1:
        [(part, nested)] = nested.items()
        parts.append(part)
    if not parts or nested != 0:
        raise ConfigError(f"{where}: {key!r} is no valid key; write names with dots between, such as data.targets.")
    return parts


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _list(table: dict[str, Any]) -> str:
    return ", ".join(table) or "it has none yet"


def _shown(value: Any) -> str:
    """A value as a person would write it in TOML, nearly: cut where it is long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
