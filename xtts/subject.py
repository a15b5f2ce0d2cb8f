"""What gradaudit audits here: the train step that `fit` runs. The only file of xtts that knows gradaudit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import keras

import gradaudit
from gradaudit.config import ConfigFile, Plan, read_project
from gradaudit.errors import ConfigError as AuditConfigError
from gradaudit.errors import GradauditError
from gradaudit.gate.policy import failures
from gradaudit.gating import gate_of, gated
from xtts.config import Config, read_tables
from xtts.errors import AuditFailure, ConfigError, DataError
from xtts.training.assembly import compiled_model, training_batches
from xtts.training.devices import strategy_of_audit


@dataclass(frozen=True)
class Training:
    """What is trained and how, and what the file says of its audit.

    Attributes:
        config: the file's tables, a scenario's and the command line's changes applied.
        plan: the audit of the step that these tables make.
    """

    config: Config
    plan: Plan

    @property
    def audited_as(self) -> dict[str, Any]:
        """The auditor's table for a file with these tables, wherever that lies: the same gate, the same scenario."""
        others = {key: value for key, value in self.plan.table.items() if key not in ("script", "arguments")}
        table = {**others, "subject": "xtts.subject:subject"}
        if self.plan.baseline is not None:
            table["baseline"] = str(self.plan.baseline.resolve())
        if self.plan.scenario is not None:
            table["scenario"] = [{"name": self.plan.scenario}]
        return table


def subject(config: Mapping[str, Any]) -> gradaudit.Subject:
    """Return the step that `fit` would run with this configuration, and the batches that it would get.

    Args:
        config: the parsed file, with a scenario's changes applied.

    Raises:
        gradaudit.errors.ConfigError: a key is unknown, a value is of the wrong kind, or the corpus cannot be used.
    """
    try:
        return _step(read_tables(config), watch=False)
    except (ConfigError, DataError) as error:
        raise AuditConfigError(str(error)) from None


def read_config(path: Path, scenario: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a file as the audit reads it, so that one file both trains and audits.

    Args:
        path: a TOML file.
        scenario: name of a scenario in the file, whose changes are applied.
        overrides: `KEY=VALUE` changes, applied last.

    Raises:
        ConfigError: the file is missing or no TOML, the scenario is unknown, or a table holds what it should not.
    """
    try:
        tables = read_project(path, scenario, overrides)
    except AuditConfigError as error:
        raise ConfigError(str(error)) from None
    return read_tables(tables)


def read_training(path: Path, scenario: str | None = None, overrides: Sequence[str] = ()) -> Training:
    """Read a file as `read_config` does, with what it says of the audit.

    A file with one scenario alone, as a run folder has it, is read with that.

    Raises:
        ConfigError: as `read_config`, or the auditor's table holds what it should not.
    """
    try:
        file = ConfigFile(path)
        only = file.scenarios[0] if len(file.scenarios) == 1 else None
        plan = file.plan(scenario or only, overrides)
    except AuditConfigError as error:
        raise ConfigError(str(error)) from None
    return Training(read_tables(plan.project), plan)


def require_trained(training: Training) -> str:
    """Audit the step that is about to be trained, and return the verdict in a line.

    Nothing is left of the audit: what it builds takes no memory.

    Raises:
        AuditFailure: the gate fails; the message is the report.
        ConfigError: the step cannot be audited.
    """
    if keras.backend.backend() != "tensorflow":
        return (
            f"not audited: gradaudit audits steps on TensorFlow, and this one runs on {keras.backend.backend()}; "
            "run gradaudit trace with this config and KERAS_BACKEND=tensorflow"
        )
    began = time.perf_counter()
    try:
        found = _audit(training)
    except GradauditError as error:
        raise ConfigError(f"the step cannot be audited: {error} To train it all the same, add --no-audit.") from None
    if failures(found):
        raise AuditFailure(_report(found))
    counts = ", ".join(
        f"{found.count(status)} {status}"
        for status in ("connected", "participation-only", "frozen", "disconnected")
        if found.count(status)
    )
    return f"audited {len(found.variables)} variables in {time.perf_counter() - began:.1f} s: {counts}"


def _step(config: Config, watch: bool) -> gradaudit.Subject:
    strategy = strategy_of_audit(config)
    if strategy is None:
        model = compiled_model(config, watch)
        return gradaudit.Subject.from_keras(model, training_batches(config, model))
    with strategy.scope():
        model = compiled_model(config, watch)
        model.build()
        model.optimizer.build(model.trainable_variables)
    from xtts.training.replicas import ReplicatedStep  # TensorFlow, which the other backends do without

    step = ReplicatedStep(model, strategy)
    batches = training_batches(config, model)
    return gradaudit.Subject(
        step.train_step,
        [step.whole(batches[0])],
        variables=model.trainable_variables,
        name=model.name,
        batches=map(step.whole, (batches[index] for index in count())),
    )


def _audit(training: Training) -> gradaudit.Audit:
    plan = training.plan
    audit = gradaudit.audit(
        lambda: _step(training.config, watch=True),
        scenario=plan.scenario,
        participation_scopes=plan.participation_scopes,
        contracts=plan.contracts,
    )
    (graded,) = gated([audit], [gate_of(plan, baseline=plan.baseline)])
    return graded


def _report(audit: gradaudit.Audit) -> str:
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report
    from gradaudit.reports.terminal import render_text

    return render_text(Report(tool(), versions(), (audit,)))
