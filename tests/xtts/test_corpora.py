"""Corpora: each kind is found as it lies on disk; what is not usable is told with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xtts import speech
from xtts.data.corpora.kinds import KINDS, read_corpus_folder
from xtts.data.corpora.recordings import NO_RECORDING, NO_TRANSCRIPT, UNCLEAR_TRANSCRIPT
from xtts.errors import DataError

TEXTS = ["sa ti", "ko", "fe su ka"]
INSTALLED = Path("/usr/share/asterisk/sounds")

WRITERS = {
    "ljspeech": speech.write_ljspeech,
    "vctk": speech.write_vctk,
    "common-voice": speech.write_common_voice,
    "pipe": speech.write_pipe,
    "asterisk": speech.write_asterisk,
}


def reasons(found) -> dict[str, str]:
    return {row.name.rpartition("/")[2]: row.reason for row in found.left_out}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_kind_is_recognised_and_all_its_recordings_found(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "corpus", TEXTS)
    assert [name for name, each in KINDS.items() if each.recognise(folder)] == [kind]
    found = read_corpus_folder(folder, language="en" if kind == "pipe" else None)
    assert sorted(row.text.strip('"') for row in found.recordings) == sorted(TEXTS)
    assert all(row.audio.is_file() for row in found.recordings)
    assert len({row.name for row in found.recordings}) == len(TEXTS)
    assert found.left_out == ()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_missing_recording_is_told(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "corpus", TEXTS)
    language = "en" if kind == "pipe" else None
    read_corpus_folder(folder, language=language).recordings[0].audio.unlink()
    found = read_corpus_folder(folder, language=language)
    assert len(found.recordings) == 2
    assert [row.reason for row in found.left_out] == [NO_RECORDING]


def test_ljspeech_is_read_by_its_normalised_column(tmp_path):
    found = read_corpus_folder(speech.write_ljspeech(tmp_path / "LJSpeech-1.1", TEXTS))
    assert [row.text for row in found.recordings] == TEXTS
    assert {(row.speaker, row.language) for row in found.recordings} == {("ljspeech", "en")}


def test_ljspeech_recordings_and_lines_that_do_not_fit_are_told(tmp_path):
    folder = speech.write_ljspeech(tmp_path / "corpus", TEXTS)
    speech.write_sound(folder / "wavs/stray.wav", speech.say("sa")[0])
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("LJ001-0009|one|two|three\nLJ001-0010||\n")
    found = read_corpus_folder(folder)
    assert reasons(found) == {
        "stray": NO_TRANSCRIPT,
        "LJ001-0009": UNCLEAR_TRANSCRIPT,
        "LJ001-0010": NO_TRANSCRIPT,
    }


def test_a_text_that_is_no_utf_8_is_told(tmp_path):
    folder = speech.write_vctk(tmp_path / "VCTK-Corpus-0.92", TEXTS)
    (folder / "txt/p225/p225_001.txt").write_bytes("sà".encode("latin-1"))
    assert reasons(read_corpus_folder(folder)) == {"p225_001": UNCLEAR_TRANSCRIPT}


def test_vctk_takes_the_first_microphone_and_tells_speakers_apart(tmp_path):
    found = read_corpus_folder(speech.write_vctk(tmp_path / "VCTK-Corpus-0.92", TEXTS))
    assert [row.audio.name for row in found.recordings] == [
        "p225_001_mic1.flac",
        "p225_003_mic1.flac",
        "p226_002_mic1.flac",
    ]
    assert {row.speaker for row in found.recordings} == {"vctk-p225", "vctk-p226"}


def test_vctk_has_a_speaker_without_transcripts(tmp_path):
    folder = speech.write_vctk(tmp_path / "VCTK-Corpus-0.92", TEXTS)
    speech.write_sound(folder / "wav48_silence_trimmed/p315/p315_001_mic1.flac", speech.say("sa")[0])
    assert reasons(read_corpus_folder(folder)) == {"p315_001": NO_TRANSCRIPT}


def test_vctk_is_read_as_it_was_before_0_92_too(tmp_path):
    folder = tmp_path / "VCTK-Corpus"
    speech.write_sound(folder / "wav48/p225/p225_001.wav", speech.say("sa")[0])
    (folder / "txt/p225").mkdir(parents=True)
    (folder / "txt/p225/p225_001.txt").write_text("sa\n", "utf-8")
    assert [row.text for row in read_corpus_folder(folder).recordings] == ["sa"]


def test_common_voice_says_its_language_and_its_speakers(tmp_path):
    found = read_corpus_folder(speech.write_common_voice(tmp_path / "es", TEXTS))
    assert {row.language for row in found.recordings} == {"es"}
    assert len({row.speaker for row in found.recordings}) == 2
    assert found.recordings[0].text.startswith('"')


@pytest.mark.parametrize("header", [True, False])
def test_the_pipe_format_is_read_with_and_without_a_header(tmp_path, header):
    found = read_corpus_folder(speech.write_pipe(tmp_path / "corpus", TEXTS, header), language="it")
    assert [(row.text, row.speaker, row.language) for row in found.recordings] == [
        ("sa ti", "voice0", "it"),
        ("ko", "voice1", "it"),
        ("fe su ka", "voice2", "it"),
    ]


def test_the_pipe_format_needs_to_be_told_its_language(tmp_path):
    with pytest.raises(DataError, match="name it with --language"):
        read_corpus_folder(speech.write_pipe(tmp_path / "corpus", TEXTS))


def test_the_pipe_format_tells_of_lines_that_are_malformed(tmp_path):
    folder = speech.write_pipe(tmp_path / "corpus", TEXTS)
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write("wavs/clip0.wav\na|b|c|d|e\n")
    found = read_corpus_folder(folder, language="en")
    assert [(row.reason, row.detail) for row in found.left_out] == [
        (UNCLEAR_TRANSCRIPT, "1 columns in metadata.csv"),
        (UNCLEAR_TRANSCRIPT, "5 columns in metadata.csv"),
    ]


def test_asterisk_leaves_out_what_is_no_speech_and_what_has_lost_letters(tmp_path):
    texts = ["[ascending tones]", "(1 second of silence)", "Il tempo sar? ora.", "at [@]", "Mailbox? Yes."]
    found = read_corpus_folder(speech.write_asterisk(tmp_path, texts, "it_IT_m_Carlo"))
    assert [row.text for row in found.recordings] == ["at", "Mailbox? Yes."]
    assert reasons(found) == {"0": NO_TRANSCRIPT, "1": NO_TRANSCRIPT, "2": UNCLEAR_TRANSCRIPT}


def test_an_asterisk_speaker_is_one_person_in_both_languages_that_she_speaks(tmp_path):
    speech.write_asterisk(tmp_path, TEXTS, "en_US_f_Allison")
    folder = speech.write_asterisk(tmp_path, TEXTS, "es_MX_f_Allison")
    found = read_corpus_folder(folder)
    assert {(row.language, row.speaker) for row in found.recordings} == {
        ("en", "asterisk-Allison"),
        ("es", "asterisk-Allison"),
    }
    assert {row.language for row in read_corpus_folder(folder, language="es").recordings} == {"es"}
    assert len(read_corpus_folder(folder / "en_US_f_Allison").recordings) == len(TEXTS)


def test_asterisk_voices_without_transcripts_name_the_package(tmp_path):
    voice = tmp_path / "fr_CA_f_June"
    speech.write_sound(voice / "hello.wav", speech.say("sa")[0])
    with pytest.raises(DataError, match="install the package asterisk-core-sounds-fr"):
        read_corpus_folder(voice)


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="the packages asterisk-core-sounds-* are not installed")
def test_the_installed_asterisk_prompts_are_found():
    found = read_corpus_folder(INSTALLED)
    for language in {row.language for row in found.recordings}:
        assert sum(row.language == language for row in found.recordings) > 400


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda folder: folder / "nowhere", "auto", "There is no folder"),
        (lambda folder: folder, "auto", "is empty"),
        (
            lambda folder: speech.write_sound(folder / "a.wav", speech.say("a")[0]).parent,
            "auto",
            "no corpus of a known",
        ),
        (lambda folder: speech.write_vctk(folder, TEXTS), "ljspeech", "not laid out as ljspeech.*try --kind vctk"),
    ],
    ids=["missing", "empty", "no corpus", "another kind"],
)
def test_a_folder_that_is_no_such_corpus_is_named(tmp_path, make, kind, message):
    with pytest.raises(DataError, match=message):
        read_corpus_folder(make(tmp_path), kind)


def test_a_corpus_without_any_recording_says_why(tmp_path):
    folder = speech.write_ljspeech(tmp_path / "corpus", TEXTS)
    for path in folder.glob("wavs/*.wav"):
        path.unlink()
    with pytest.raises(DataError, match=r"no recording with a transcript; the first of 3: corpus/LJ001-0000"):
        read_corpus_folder(folder)
