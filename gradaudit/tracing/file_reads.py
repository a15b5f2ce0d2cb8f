"""Files that TensorFlow and h5py open past Python: each is told, or that it cannot be told which."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import h5py
from tensorflow.python import pywrap_tfe
from tensorflow.python.framework import ops
from tensorflow.python.lib.io import _pywrap_file_io
from tensorflow.python.training import py_checkpoint_reader

from gradaudit.tracing.patches import Patches

_READERS = frozenset(
    (
        *("ReadFile", "MatchingFiles", "MatchingFilesDataset", "Restore", "RestoreSlice", "RestoreV2"),
        *("TFRecordDataset", "TFRecordDatasetV2", "TextLineDataset", "CSVDataset", "CSVDatasetV2"),
        *("FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "SqlDataset", "LMDBDataset"),
        *("LoadDataset", "SnapshotDataset", "SnapshotDatasetV2", "LoadAndRemapMatrix", "LMDBReader"),
        *("InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "TextLineReader", "TextLineReaderV2"),
        *("TFRecordReader", "TFRecordReaderV2", "WholeFileReader", "WholeFileReaderV2"),
        *("FixedLengthRecordReader", "FixedLengthRecordReaderV2"),
    )
)
"""Ops that open files by names which only they know for certain."""


class FileNotes(Protocol):
    """Who wants to know of the files."""

    def note(self, note: Callable[..., None], *arguments: Any) -> None:
        """Note something by one of the functions below."""

    def note_read(self, path: Any) -> None:
        """A file is opened to be read."""

    def note_written(self, path: Any) -> None:
        """A file is opened to be written."""

    def note_asked(self, path: Any) -> None:
        """Somebody asks what there is at a path."""

    def note_listed(self, path: Any) -> None:
        """A folder is listed."""

    def note_unheld(self, reason: str) -> None:
        """A file is read of which the name is not known here."""


def tell_file_reads(patches: Patches, notes: FileNotes) -> None:
    """Until the patches are undone, let all that is read past Python be told."""
    files: dict[str, Callable[[Any], None]] = {
        "BufferedInputStream": notes.note_read,
        "ReadFileToString": notes.note_read,
        "CopyFile": notes.note_read,
        "WritableFile": notes.note_written,
        "FileExists": notes.note_asked,
        "IsDirectory": notes.note_asked,
        "Stat": notes.note_read,
        "GetChildren": notes.note_listed,
        "GetMatchingFiles": lambda pattern: _note_pattern(notes, pattern),
    }
    for name, note in files.items():
        patches.wrap(_pywrap_file_io, name, _noting(notes, note))
    patches.wrap(h5py.h5f, "open", _noting(notes, notes.note_read))
    patches.wrap(h5py.h5f, "create", _noting(notes, notes.note_written))
    patches.wrap(py_checkpoint_reader, "CheckpointReader", _noting(notes, lambda path: _note_checkpoint(notes, path)))
    _tell_ops(patches, notes)


def _tell_ops(patches: Patches, notes: FileNotes) -> None:
    def execute(original: Callable[..., Any], context: Any, op_type: Any, *arguments: Any) -> Any:
        _note_op(notes, op_type)
        return original(context, op_type, *arguments)

    def execute_slowly(original: Callable[..., Any], context: Any, device: Any, op_type: Any, *arguments: Any) -> Any:
        _note_op(notes, op_type)
        return original(context, device, op_type, *arguments)

    def create(original: Callable[..., Any], graph: Any, op_type: Any, *arguments: Any, **options: Any) -> Any:
        _note_op(notes, op_type)
        return original(graph, op_type, *arguments, **options)

    patches.wrap(pywrap_tfe, "TFE_Py_FastPathExecute", execute)
    patches.wrap(pywrap_tfe, "TFE_Py_Execute", execute_slowly)
    patches.wrap(ops.Graph, "_create_op_internal", create)


def _note_op(notes: FileNotes, op_type: Any) -> None:
    if op_type in _READERS:
        notes.note(notes.note_unheld, f"TensorFlow reads files by itself, with {op_type}")


def _note_pattern(notes: FileNotes, pattern: Any) -> None:
    """Whoever asks for all files of a pattern asks for a listing, if only the last part is one."""
    folder = os.fsdecode(pattern).rpartition("/")[0]
    if any(mark in folder for mark in "*?["):
        notes.note_unheld(f"it looks for {os.fsdecode(pattern)}")
    else:
        notes.note_listed(folder or ".")


def _note_checkpoint(notes: FileNotes, path: Any) -> None:
    notes.note_unheld(f"TensorFlow reads the checkpoint {os.fsdecode(path)} by itself")


def _noting(notes: FileNotes, note: Callable[[Any], None]) -> Callable[..., Any]:
    def call(original: Callable[..., Any], path: Any, *arguments: Any, **options: Any) -> Any:
        if "://" in os.fsdecode(path):
            notes.note(notes.note_unheld, f"it reads {os.fsdecode(path)}, which is no file of this machine")
        notes.note(note, path)
        return original(path, *arguments, **options)

    return call
