"""Files of reports are checked before the work, written whole or not at all, and named safely."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gradaudit import output
from gradaudit.errors import OutputError
from gradaudit.output import file_names, require_file, require_folder, write_file


def test_a_report_folder_is_made_and_left_empty_by_the_check(tmp_path: Path):
    require_folder(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("kept")

    with pytest.raises(OutputError, match=r"report folder .*file cannot be made: a file of that name is in the way"):
        require_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=r"report folder .*below cannot be written: Not a directory"):
        require_folder(tmp_path / "file" / "below")
    with pytest.raises(OutputError, match=r"below.txt: .*file is no folder|below.txt: Not a directory"):
        require_file(tmp_path / "file" / "below.txt")


def test_a_folder_cannot_be_written_as_a_file(tmp_path: Path):
    with pytest.raises(OutputError, match="it is a folder"):
        require_file(tmp_path)


def test_the_check_of_a_file_leaves_what_stands_there(tmp_path: Path):
    (tmp_path / "report.txt").write_text("old")
    require_file(tmp_path / "report.txt")
    require_file(tmp_path / "new" / "report.txt")

    assert (tmp_path / "report.txt").read_text() == "old"
    assert list((tmp_path / "new").iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "report.txt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", full)
    with pytest.raises(OutputError, match=r"report.txt: No space left on device"):
        write_file(path, b"new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_can_be_read_by_whom_the_users_mask_lets(tmp_path: Path):
    write_file(tmp_path / "report.txt", b"text")
    (tmp_path / "usual").write_text("")

    assert (tmp_path / "report.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_is_written_through_and_stays_a_link(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_file(tmp_path / "link", b"text")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"text"


def test_a_device_is_written_to_and_not_replaced():
    require_file(Path(os.devnull))
    write_file(Path(os.devnull), b"text")

    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("minimal-unpatched", "minimal-unpatched"),
        ("größe 日本", "größe-日本"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c:d*e?f", "a-b-c-d-e-f"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("line\nbreak\x00\N{RIGHT-TO-LEFT OVERRIDE}", "line-break"),
        ("///", "audit"),
        ("x" * 500, "x" * 60),
    ],
)
def test_a_name_becomes_a_file_name_that_stays_in_its_folder(name: str, safe: str):
    assert file_names([name]) == (safe,)


def test_no_two_audits_share_a_file():
    assert file_names(["a b", "a/b", "A-B", "a-b-2"]) == ("a-b", "a-b-2", "A-B-3", "a-b-2-2")
