"""The JSON report: what `Report.to_dict` holds, with every unseen character escaped and no NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gradaudit.errors import ConfigError
from gradaudit.graph.report import SCHEMA, Report
from gradaudit.reports.inert import COMMAND, is_unseen


def render_json(report: Report) -> str:
    """The report as indented JSON that ends with a newline. Encode it as UTF-8."""
    content = report.to_dict()
    for unordered in ("tool", "environment"):
        content[unordered] = dict(sorted(content[unordered].items()))
    return json_text(content)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON report.

    Raises:
        ConfigError: there is no such file, or it is no report of gradaudit.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no report {path}. Write one: gradaudit trace --format json --output {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"The report {path} cannot be read: {error}.") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no JSON report of gradaudit: its schema is not {SCHEMA!r}.")
    return content


def json_text(content: Any) -> str:
    """Plain values as indented JSON that ends with a newline, in which nothing is unseen and no number is NaN."""
    text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, indent=2)
    return _escape(text).replace(COMMAND, "##\\u005b") + "\n"


def _finite(value: Any) -> Any:
    """The value with NaN and infinity as null: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _escape(text: str) -> str:
    """The JSON text with unseen characters as \\uXXXX: they stand only inside strings, so the value stays the same."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(_escape_character(character) for character in text)


def _escape_character(character: str) -> str:
    if character == "\n" or not is_unseen(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))
