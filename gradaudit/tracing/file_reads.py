"""Files that TensorFlow and h5py open past Python: each is told, or that it cannot be told which."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import h5py
from tensorflow.python import pywrap_tfe
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import ops
from tensorflow.python.lib.io import _pywrap_file_io, _pywrap_record_io, file_io
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
_DRIVERS_OF_ONE_FILE = frozenset((h5py.h5fd.SEC2, h5py.h5fd.STDIO, h5py.h5fd.CORE, h5py.h5fd.fileobj_driver))


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

    def note_examined(self, path: Any) -> None:
        """Somebody asks for all that the system knows of a path."""

    def note_listed(self, path: Any) -> None:
        """A folder is listed."""

    def note_unheld(self, reason: str) -> None:
        """A file is read of which the name is not known here."""


def tell_file_reads(patches: Patches, notes: FileNotes) -> None:
    """Until the patches are undone, let all that is read past Python be told."""

    def changed(path: Any, *_: Any) -> None:
        notes.note_asked(path)
        notes.note_written(path)

    def written(path: Any, mode: Any = "w", *_: Any) -> None:
        if "a" in str(mode):
            notes.note_examined(path)  # where it is appended tells how large it was
        notes.note_written(path)

    def copied(source: Any, target: Any, *_: Any) -> None:
        notes.note_read(source)
        changed(target)

    def renamed(source: Any, target: Any, *_: Any) -> None:
        copied(source, target)
        notes.note_written(source)

    def matched(pattern: Any, *_: Any) -> None:
        _note_pattern(notes, pattern)

    files: dict[str, Callable[..., None]] = {
        **dict.fromkeys(("BufferedInputStream", "ReadFileToString"), _first(notes.note_read)),
        **dict.fromkeys(("FileExists", "IsDirectory"), _first(notes.note_asked)),
        **dict.fromkeys(("CreateDir", "RecursivelyCreateDir", "DeleteFile", "DeleteRecursively"), changed),
        "WritableFile": written,
        "WriteStringToFile": _first(notes.note_written),
        "CopyFile": copied,
        "RenameFile": renamed,
        "Stat": _first(notes.note_examined),
        "GetChildren": _first(notes.note_listed),
        "GetMatchingFiles": matched,
    }
    look = _pywrap_file_io.Stat

    def size(_original: Callable[..., int], file: file_io.FileIO) -> int:
        notes.note(notes.note_read, file.name)  # which it is about to be, and more than this is not seen of it
        return int(look(os.fspath(file.name)).length)

    patches.wrap(file_io.FileIO, "size", size)
    for name, note in files.items():
        patches.wrap(_pywrap_file_io, name, _noting(notes, note))
    for name in ("RecordIterator", "RandomRecordReader"):
        patches.wrap(_pywrap_record_io, name, _noting(notes, _first(notes.note_read)))
    patches.wrap(py_checkpoint_reader, "CheckpointReader", _noting(notes, partial(_note_checkpoint, notes)))
    for name in ("TF_LoadLibrary", "TF_LoadPluggableDeviceLibrary"):
        patches.wrap(pywrap_tf_session, name, _noting(notes, partial(_note_library, notes)))
    _tell_hdf5(patches, notes)
    _tell_ops(patches, notes)


def _tell_hdf5(patches: Patches, notes: FileNotes) -> None:
    def open_file(original: Callable[..., Any], path: Any, *arguments: Any, **options: Any) -> Any:
        notes.note(notes.note_read, path)
        file = original(path, *arguments, **options)
        if file.get_access_plist().get_driver() not in _DRIVERS_OF_ONE_FILE or _leads_elsewhere(file):
            notes.note(notes.note_unheld, f"HDF5 reads other files for {os.fsdecode(path)}")
        return file

    patches.wrap(h5py.h5f, "open", open_file)
    patches.wrap(h5py.h5f, "is_hdf5", _noting(notes, _first(notes.note_read)))
    patches.wrap(h5py.h5f, "create", _noting(notes, _first(notes.note_written)))


def _leads_elsewhere(file: h5py.h5f.FileID) -> bool:
    """Whether some of what seems to be in an HDF5 file is in others."""
    root = h5py.File(file)

    def is_elsewhere(_name: str, item: Any) -> bool | None:
        return isinstance(item, h5py.Dataset) and (item.is_virtual or item.external is not None) or None

    def leads_elsewhere(_name: str, link: Any) -> bool | None:
        return isinstance(link, h5py.ExternalLink) or None

    return bool(root.visititems_links(leads_elsewhere) or root.visititems(is_elsewhere))


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


def _note_library(notes: FileNotes, path: Any, *_: Any) -> None:
    notes.note_unheld(f"TensorFlow loads the library {os.fsdecode(path)}")


def _note_checkpoint(notes: FileNotes, path: Any, *_: Any) -> None:
    notes.note_unheld(f"TensorFlow reads the checkpoint {os.fsdecode(path)} by itself")


def _first(note: Callable[[Any], None]) -> Callable[..., None]:
    """What notes the first argument alone."""
    return lambda path, *_: note(path)


def _noting(notes: FileNotes, note: Callable[..., None]) -> Callable[..., Any]:
    def call(original: Callable[..., Any], path: Any, *arguments: Any, **options: Any) -> Any:
        if "://" in os.fsdecode(path):
            notes.note(notes.note_unheld, f"it reads {os.fsdecode(path)}, which is no file of this machine")
        notes.note(note, path, *arguments)
        return original(path, *arguments, **options)

    return call
