"""The folder of a training: its configuration, its checkpoints and its log, used by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import keras

from xtts.config import Config
from xtts.data.manifest import CORPUS, TOKENIZER
from xtts.errors import RunError
from xtts.training.checkpoint import Facts, clear_leftovers, read_facts, restore, write_checkpoint
from xtts.whole_files import replaced

CONFIG = "config.toml"
_LOCK = ".lock"
_ENDING = ".checkpoint"
# Tables and keys with which other variables exist, or the same ones mean something else.
_SETTLED = ("model", "optimizer.name", "optimizer.accumulate", "train.precision", "loss.participation")


@dataclass(frozen=True)
class RunFolder:
    """The places in the folder, and the checkpoints there.

    Attributes:
        path: the folder.
        config: what is trained there, and how.
        audited_as: the auditor's table, kept along with the configuration, so that the file can be audited too.
    """

    path: Path
    config: Config
    audited_as: Mapping[str, Any]

    @property
    def log(self) -> Path:
        """The losses of every step, as CSV."""
        return self.path / "log.csv"

    @property
    def tensorboard(self) -> Path:
        """Where TensorBoard looks."""
        return self.path / "tensorboard"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self._checkpoints / f"best{_ENDING}"

    @property
    def last(self) -> Path | None:
        """The checkpoint that a training goes on from, if there is one."""
        return _last_in(self._checkpoints)

    def settle(self) -> None:
        """Write the configuration, and what synthesis needs of the corpus: from here on there is a training here.

        Raises:
            RunError: it cannot be written.
        """
        if self.config.data.corpus is not None:
            self._keep_of_corpus(Path(self.config.data.corpus))
        tables = {"gradaudit": self.audited_as, **self.config.model_dump(mode="json")}
        try:
            _write_text(self.path / CONFIG, _toml_file(tables))
        except OSError as error:
            raise self.not_written(self.path / CONFIG, error) from None

    def resume(self, model: keras.Model) -> Facts | None:
        """Set the model and its optimizer, both built, to the last checkpoint, and return its facts.

        Raises:
            RunError: it is damaged, or of another configuration; nothing is changed on the disk.
        """
        path = self.last
        if path is None:
            return None
        facts = read_facts(path)
        changed = _changed(facts.config, self.config.model_dump(mode="json"))
        if changed:
            raise RunError(
                f"{path} is of another config: {'; '.join(changed)}. Resume without --config and --set, or begin "
                "another run folder."
            )
        restore(path, model)
        return facts

    def save(self, model: keras.Model, facts: Facts, is_best: bool = False) -> Path:
        """Write a checkpoint, and remove those that are not kept.

        Raises:
            RunError: it cannot be written; all that was there still is.
        """
        path = self._checkpoints / f"step-{facts.step:08d}{_ENDING}"
        try:
            write_checkpoint(path, model, facts)
            if is_best:
                _put_beside(path, self.best)
            for old in sorted(self._checkpoints.glob(f"step-*{_ENDING}"))[: -self.config.train.keep]:
                old.unlink()
        except OSError as error:
            raise self.not_written(path, error) from None
        return path

    def not_written(self, path: Path, error: OSError) -> RunError:
        """Return what is to be told of a file of the folder that cannot be written."""
        last = self.last
        rest = "no checkpoint is there yet" if last is None else f"{last.name} is whole"
        return RunError(f"{path} cannot be written: {error.strerror}; {rest}. Make room, and resume with --resume.")

    def _keep_of_corpus(self, corpus: Path) -> None:
        for name in (CORPUS, TOKENIZER):
            try:
                _write_text(self.path / name, (corpus / name).read_text("utf-8"))
            except OSError as error:
                raise self.not_written(self.path / name, error) from None

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"


@contextlib.contextmanager
def open_run(
    path: Path, config: Config, audited_as: Mapping[str, Any], resume: bool, writes: bool = True
) -> Iterator[RunFolder]:
    """Make the folder, or take up the training in it; nobody else can until the end of the block.

    Where no training begins in the block, because its audit fails, no folder is left.

    Args:
        path: the folder.
        config: what is trained there, and how.
        audited_as: the auditor's table.
        resume: whether there has to be a training already; if not, there may be none.
        writes: whether this process writes there, and not another worker of the same training.

    Raises:
        RunError: there is a training and should be none, or the other way round; another process uses the folder; it
            cannot be written.
    """
    folder = RunFolder(path, config, audited_as)
    _require(folder, resume)
    if not writes:
        yield folder
        return
    try:
        folder._checkpoints.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("a+")
    except OSError as error:
        raise RunError(f"The run folder {path} cannot be written: {error.strerror}. Name another one.") from None
    with lock:
        _take(lock, path)
        clear_leftovers(folder._checkpoints)
        try:
            yield folder
        finally:
            if not _is_begun(folder):
                _remove_if_empty(folder)


def checkpoint_of(path: Path) -> Path:
    """Return a checkpoint: the file itself, or of a run folder the best one, or the last where none is the best.

    Raises:
        RunError: there is none.
    """
    if path.is_file():
        return path
    checkpoints = path / "checkpoints"
    best = checkpoints / f"best{_ENDING}"
    found = best if best.is_file() else _last_in(checkpoints)
    if found is None:
        raise RunError(f"There is no checkpoint in {path}: name a run folder of xtts train --output, or a checkpoint.")
    return found


def config_of(path: Path) -> Path:
    """Return the file with the configuration of a run folder.

    Raises:
        RunError: there is none.
    """
    if not (path / CONFIG).is_file():
        raise _nothing_to_resume(path)
    return path / CONFIG


def _require(folder: RunFolder, resume: bool) -> None:
    if resume and not _is_begun(folder):
        raise _nothing_to_resume(folder.path)
    if not resume and _is_begun(folder):
        raise RunError(
            f"There is a training in {folder.path} already. Go on with it by --resume, or name another folder."
        )


def _nothing_to_resume(path: Path) -> RunError:
    return RunError(f"There is no training to resume in {path}. To begin one there, leave out --resume.")


def _is_begun(folder: RunFolder) -> bool:
    return (folder.path / CONFIG).exists() or folder.last is not None


def _remove_if_empty(folder: RunFolder) -> None:
    with contextlib.suppress(OSError):  # it holds something of somebody's
        (folder.path / _LOCK).unlink()
        folder._checkpoints.rmdir()
        folder.path.rmdir()


def _take(lock: IO[str], path: Path) -> None:
    """Lock a file until it is closed, or the process ends in whatever way."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise RunError(
            f"{path} is in use by another training, process {lock.read().strip() or 'unknown'}. Wait for its end, or "
            "name another folder."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is settled for a training and has changed, as `key was this and is that`."""
    settled = [(table, key) for table in now for key in now[table] if table in _SETTLED or f"{table}.{key}" in _SETTLED]
    values = [(f"{table}.{key}", before.get(table, {}).get(key), now[table][key]) for table, key in settled]
    return [f"{key} was {was!r} and is {present!r}" for key, was, present in values if was != present]


def _last_in(checkpoints: Path) -> Path | None:
    return max(checkpoints.glob(f"step-*{_ENDING}"), key=lambda path: path.name, default=None)


def _put_beside(path: Path, other: Path) -> None:
    """Give a file a second name, in place of what had that: without a copy, where the file system can."""
    beside = other.with_name(f".{other.name}.partial")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        shutil.copyfile(path, beside)
    beside.replace(other)


def _write_text(path: Path, text: str) -> None:
    with replaced(path) as file:
        file.write(text.encode())


def _toml_file(tables: Mapping[str, Any]) -> str:
    text = "# What is trained here: `xtts train` wrote this, and reads it with --resume.\n"
    for table, values in tables.items():
        lines = (f"{_toml_key(key)} = {_toml(value)}\n" for key, value in values.items() if value is not None)
        text += f"\n[{table}]\n{''.join(lines)}"
    return text


def _toml(value: Any) -> str:
    """A value in TOML: JSON's notation is TOML's, but for tables, and for one character that TOML has escaped."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
