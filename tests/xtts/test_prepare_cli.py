"""The command `xtts prepare`: it tells what it made and left out, or refuses in one message with status 2."""

from __future__ import annotations

import json

import pytest

from tests.xtts import speech
from tests.xtts.test_xtts_cli import run
from xtts.data import cli
from xtts.data.corpora.kinds import AUTO, KINDS
from xtts.data.manifest import read_corpus

QUICK = ["--sample-rate", str(speech.RATE), "--mels", "16", "--alignment-steps", "2", "--jobs", "1"]
TEXTS = speech.sentences(5, seed=7)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = speech.write_ljspeech(tmp_path_factory.mktemp("corpora") / "corpus", TEXTS)
    (folder / "wavs/LJ001-0000.wav").write_bytes(b"broken")
    return folder


def test_preparing_prints_what_was_left_out_and_why_and_what_was_made(monkeypatch, capsys, corpus, tmp_path):
    output = tmp_path / "prepared"
    assert run(monkeypatch, "prepare", str(corpus), "--output", str(output), "--held-out", "0", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "unreadable" in printed
    assert "training: 4 clips" in printed
    assert "held out: 0 clips" in printed
    assert len(read_corpus(output).clips) == 4
    assert json.loads((output / "left_out.jsonl").read_text("utf-8"))["reason"] == "unreadable"


def test_all_kinds_of_corpora_can_be_named():
    assert (AUTO, *sorted(KINDS, key=cli.KINDS.index)) == cli.KINDS


def test_byte_pairs_can_be_asked_for(monkeypatch, corpus, tmp_path):
    arguments = ["--tokens", "bpe", "--vocabulary", "45"]
    assert run(monkeypatch, "prepare", str(corpus), "--output", str(tmp_path), *arguments, *QUICK) == 0
    assert read_corpus(tmp_path).tokenizer.vocabulary_size == 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--output", "out"], "no folder nowhere"),
        (["CORPUS", "--output", "out", "--kind", "vctk"], "not laid out as vctk"),
        (["CORPUS", "--output", "out", "--kind", "wav"], "--kind"),
        (["CORPUS", "--output", "out", "--language", "xx"], "'xx' is not known"),
        (["CORPUS", "--output", "out", "--highest", "9000", "--sample-rate", "16000"], "nothing above 8000 Hz"),
        (["CORPUS", "--output", "out", "--tokenizer", "nowhere.json", *QUICK], "nowhere.json"),
        (["CORPUS"], "--output"),
        (["--output", "out"], "SOURCE"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_message(monkeypatch, capsys, corpus, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "prepare", *(str(corpus) if given == "CORPUS" else given for given in arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "Traceback" not in output.err


def test_a_folder_without_a_corpus_leaves_no_folder_behind(monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "prepare", str(tmp_path / "empty"), "--output", str(tmp_path / "out")) == 2
    assert not (tmp_path / "out").exists()


def test_names_from_outside_cannot_move_the_cursor(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "prepare", str(tmp_path / "a\x1b[2Jb"), "--output", str(tmp_path / "out")) == 2
    assert "a\\x1b[2Jb" in capsys.readouterr().err
