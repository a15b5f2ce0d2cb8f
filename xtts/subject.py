"""What gradaudit audits here: the train step that `fit` runs. The only file of xtts that knows gradaudit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradaudit
from gradaudit.config import read_project
from gradaudit.errors import ConfigError as AuditConfigError
from xtts.config import Config, read_tables
from xtts.errors import ConfigError, DataError
from xtts.training.assembly import compiled_model, training_batches


def subject(config: Mapping[str, Any]) -> gradaudit.Subject:
    """Return the step that `fit` would run with this configuration, and the batches that it would get.

    Args:
        config: the parsed file, with a scenario's changes applied.

    Raises:
        gradaudit.errors.ConfigError: a key is unknown, a value is of the wrong kind, or the corpus cannot be used.
    """
    try:
        checked = read_tables(config)
        model = compiled_model(checked)
        batches = training_batches(checked, model)
    except (ConfigError, DataError) as error:
        raise AuditConfigError(str(error)) from None
    return gradaudit.Subject.from_keras(model, batches)


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
