"""The log of a training as CSV: a line for each step, each step once, however often it was killed and resumed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

import keras

from xtts.training.readings import SECONDS, VALIDATION, loss_terms
from xtts.training.run_folder import RunFolder
from xtts.whole_files import replaced

_STEP = "step"


class StepLog(keras.callbacks.Callback):
    """Appends the values of each step; those of a validation stand at the step before which it was made.

    Args:
        folder: where `log.csv` is.
        start: steps done before; lines of later ones are dropped, for they are made anew.
        validates: whether there are validations, and columns for them.
    """

    def __init__(self, folder: RunFolder, start: int, validates: bool) -> None:
        super().__init__()
        self.folder = folder
        self.start = start
        self.validates = validates
        self._columns: Sequence[str] = ()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Drop the lines of steps that are made anew.

        Raises:
            RunError: the log cannot be written.
        """
        try:
            self._columns = self._drop_later_lines()
        except OSError as error:
            raise self.folder.not_written(self.folder.log, error) from None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Append a line, so that no later end of the process can lose it.

        Raises:
            RunError: the log cannot be written.
        """
        values = {_STEP: epoch + 1, **(logs or {})}
        missing = [column for column in self._columns_for(dict(logs or {})) if column not in self._columns]
        try:
            if missing:
                self._add_columns(missing)
            with self.folder.log.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerow([values.get(column, "") for column in self._columns])
        except OSError as error:
            raise self.folder.not_written(self.folder.log, error) from None

    def _columns_for(self, logs: dict[str, float]) -> list[str]:
        terms = sorted(
            (name for name in loss_terms(logs) if not name.startswith(VALIDATION)),
            key=lambda name: (name != "loss", name),
        )
        validations = [f"{VALIDATION}{name}" for name in terms] if self.validates else []
        others = [name for name in logs if name not in (*terms, *validations, SECONDS)]
        return [_STEP, *terms, *validations, *others, SECONDS]

    def _add_columns(self, missing: Sequence[str]) -> None:
        """Give what is logged for the first time a column: all at the first step, a new loss term after a resume."""
        _, lines = self._read()
        self._columns = [*self._columns, *missing]
        self._write([self._columns, *([*line, *[""] * len(missing)] for line in lines)])

    def _drop_later_lines(self) -> list[str]:
        """Keep the header and the lines up to the start; returns the header."""
        header, lines = self._read()
        kept = list(self._lines_before(header, lines))
        if header:
            self._write([header, *kept] if kept else [])
        return header if kept else []

    def _read(self) -> tuple[list[str], list[list[str]]]:
        """The header and the lines; nothing where there is no log yet."""
        if not self.folder.log.exists():
            return [], []
        with self.folder.log.open(encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
        return header, lines

    def _write(self, lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(lines)
        with replaced(self.folder.log) as file:
            file.write(text.getvalue().encode())

    def _lines_before(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
        for line in lines:
            if len(line) == len(header) and line[0].isdecimal() and int(line[0]) <= self.start:
                yield line
