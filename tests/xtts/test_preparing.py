"""`prepare`: a corpus becomes a manifest with features and durations; it resumes, and tells what it left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.xtts import speech
from xtts.audio.settings import AudioSettings
from xtts.data import recording_features
from xtts.data.corpora import recordings
from xtts.data.manifest import MANIFEST, read_corpus, write_corpus
from xtts.data.preparing import LEFT_OUT, Request, prepare
from xtts.data.recording_features import Limits
from xtts.errors import DataError

SETTINGS = AudioSettings(sample_rate=speech.RATE, mel_channels=20)
TEXTS = speech.sentences(8, seed=5)


def request(source: Path, output: Path, **changes) -> Request:
    usual = Request((source,), output, audio=SETTINGS, alignment_steps=3, held_out=0.2)
    return replace(usual, **changes)


@pytest.fixture(scope="module")
def vctk(tmp_path_factory) -> Path:
    return speech.write_vctk(tmp_path_factory.mktemp("corpora") / "VCTK-Corpus-0.92", TEXTS)


@pytest.fixture(scope="module")
def prepared(vctk, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared")
    prepare(request(vctk, output))
    return output


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "aligner.npz"  # a zip file, with the time in it
    }


def left_out(folder: Path) -> dict[str, str]:
    lines = (folder / LEFT_OUT).read_text("utf-8").splitlines()
    return {row["name"].rpartition("/")[2]: row["reason"] for row in map(json.loads, lines)}


def test_the_manifest_holds_texts_tokens_durations_and_features(prepared):
    corpus = read_corpus(prepared)
    assert sorted(clip.text for clip in corpus.clips) == sorted(TEXTS)
    for clip in corpus.clips:
        features = corpus.features(clip)
        assert features.log_mel.shape == (clip.frames, SETTINGS.mel_channels)
        assert len(features.pitch) == len(features.energy) == clip.frames == sum(clip.durations)
        assert "".join(corpus.tokenizer.pieces(clip.tokens)) == f"[en]{clip.spoken}[end]"
    assert corpus.shared.audio == SETTINGS
    assert {clip.speaker for clip in corpus.clips} == set(corpus.shared.pitch) == {"vctk-p225", "vctk-p226"}


def test_spreads_are_those_of_the_training_clips(prepared):
    corpus = read_corpus(prepared)
    features = [corpus.features(clip) for clip in corpus.part(held_out=False)]
    log_mel = np.concatenate([each.log_mel.ravel() for each in features])
    assert corpus.shared.mel.mean == pytest.approx(log_mel.mean(), rel=1e-4)
    assert corpus.shared.mel.deviation == pytest.approx(log_mel.std(), rel=1e-4)
    for number, speaker in enumerate(sorted(corpus.shared.pitch)):
        assert np.exp(corpus.shared.pitch[speaker].mean) == pytest.approx(speech.PITCHES[number], rel=0.1)
    np.testing.assert_allclose(corpus.shared.mel.restore(corpus.shared.mel.normalise(log_mel)), log_mel, atol=1e-4)


def test_prepared_twice_gives_the_same_bytes(vctk, prepared, tmp_path):
    prepare(request(vctk, tmp_path))
    assert content(tmp_path) == content(prepared)


@pytest.mark.slow
def test_several_processes_give_the_same_as_one(vctk, prepared, tmp_path):
    prepare(request(vctk, tmp_path, jobs=2))
    assert content(tmp_path) == content(prepared)


def test_what_was_computed_before_an_interruption_is_not_computed_again(vctk, prepared, tmp_path, monkeypatch):
    def interrupt(task: str, done: int, total: int) -> None:
        if (task, done) == ("computing features", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(request(vctk, tmp_path), interrupt)
    assert not (tmp_path / MANIFEST).exists()
    with pytest.raises(DataError, match="not to the end"):
        read_corpus(tmp_path)
    computed = []
    compute = recording_features.features
    monkeypatch.setattr(recording_features, "features", lambda *given: computed.append(given) or compute(*given))
    prepare(request(vctk, tmp_path))
    assert len(computed) == 3
    assert content(tmp_path) == content(prepared)


def test_features_that_are_broken_on_disk_are_computed_again(vctk, prepared, tmp_path):
    prepare(request(vctk, tmp_path))
    damaged = next(tmp_path.rglob("features/*/*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    prepare(request(vctk, tmp_path))
    assert content(tmp_path) == content(prepared)


def test_other_settings_are_other_features(vctk, prepared, tmp_path):
    prepare(request(vctk, tmp_path))
    prepare(request(vctk, tmp_path, audio=replace(SETTINGS, mel_channels=10)))
    corpus = read_corpus(tmp_path)
    assert corpus.features(corpus.clips[0]).log_mel.shape[1] == 10


def test_a_clip_stays_held_out_when_others_come(tmp_path):
    texts = speech.sentences(14, seed=6)
    folder = speech.write_ljspeech(tmp_path / "corpus", texts[:10])
    prepare(request(folder, tmp_path / "prepared"))
    before = {clip.name: clip.held_out for clip in read_corpus(tmp_path / "prepared").clips}
    assert set(before.values()) == {True, False}
    prepare(request(speech.write_ljspeech(folder, texts), tmp_path / "prepared"))
    after = {clip.name: clip.held_out for clip in read_corpus(tmp_path / "prepared").clips}
    assert len(after) == 14
    assert {name: after[name] for name in before} == before


@pytest.fixture(scope="module")
def troubled(tmp_path_factory) -> Path:
    """A corpus with a recording for each thing that can be wrong with one."""
    folder = speech.write_ljspeech(tmp_path_factory.mktemp("corpora") / "corpus", TEXTS)
    samples = speech.say(TEXTS[0])[0]
    sounds = {
        "silent": (np.zeros(speech.RATE), speech.RATE),
        "noise": (1e-4 * np.random.default_rng(0).normal(size=speech.RATE), speech.RATE),
        "short": (samples[: speech.RATE // 4], speech.RATE),
        "shortest": (samples[3000:3100], speech.RATE),
        "long": (np.tile(samples, 40), speech.RATE),
        "clipped": (np.clip(20 * samples, -1, 1), speech.RATE),
        "narrow": (samples[::2], speech.RATE // 2),
        "stereo": (np.stack([samples, samples], axis=1), speech.RATE),
        "fast": (samples, speech.RATE),
        "dots": (samples, speech.RATE),
    }
    texts = {"fast": "sa " * 200, "dots": "?!"}
    with (folder / "metadata.csv").open("a", encoding="utf-8") as file:
        for name, (sound, rate) in sounds.items():
            speech.write_sound(folder / "wavs" / f"{name}.wav", sound, rate)
            file.write(f"{name}|{texts.get(name, 'sa ti')}\n")
        file.write("broken|sa ti\nmissing|sa ti\nsilence|\n")
    (folder / "wavs/broken.wav").write_bytes(b"RIFF, but no more")
    return folder


def test_what_cannot_be_used_is_left_out_with_its_reason_and_the_rest_is_used(troubled, tmp_path):
    outcome = prepare(request(troubled, tmp_path))
    expected = {
        "missing": recordings.NO_RECORDING,
        "silence": recordings.NO_TRANSCRIPT,
        "silent": recordings.SILENT,
        "noise": recordings.SILENT,
        "short": recordings.TOO_SHORT,
        "shortest": recordings.TOO_SHORT,
        "long": recordings.TOO_LONG,
        "clipped": recordings.CLIPPED,
        "narrow": recordings.LOW_RATE,
        "broken": recordings.UNREADABLE,
        "fast": recordings.TOO_FAST,
        "dots": recordings.NO_TRANSCRIPT,
    }
    assert left_out(tmp_path) == {row.name.rpartition("/")[2]: row.reason for row in outcome.left_out} == expected
    used = {clip.name.rpartition("/")[2] for clip in outcome.corpus.clips}
    assert used == {"stereo", *(f"LJ001-{number:04}" for number in range(len(TEXTS)))}


def test_what_is_shorter_than_a_window_is_too_short_whatever_is_asked_for(troubled, tmp_path):
    prepare(request(troubled, tmp_path, limits=Limits(shortest=0.0, longest=20.0)))
    assert left_out(tmp_path)["shortest"] == recordings.TOO_SHORT
    assert "short" not in left_out(tmp_path)


def test_a_narrow_recording_is_used_by_mels_that_end_where_it_does(troubled, tmp_path):
    prepare(request(troubled, tmp_path, audio=replace(SETTINGS, highest=4_000.0)))
    assert "narrow" not in left_out(tmp_path)


def test_texts_that_a_given_tokenizer_never_saw_are_left_out(prepared, tmp_path):
    folder = speech.write_ljspeech(tmp_path / "corpus", [*TEXTS, "zebra"])
    outcome = prepare(request(folder, tmp_path / "prepared", tokenizer=prepared / "tokenizer.json"))
    assert [(row.reason, row.detail) for row in outcome.left_out] == [(recordings.UNSEEN_CHARACTERS, "'b' 'r' 'z'")]
    assert outcome.corpus.tokenizer.json() == read_corpus(prepared).tokenizer.json()


def test_the_same_corpus_twice_is_used_once(vctk, tmp_path):
    outcome = prepare(request(vctk, tmp_path, sources=(vctk, vctk)))
    assert len(outcome.corpus.clips) == len(TEXTS)
    assert {row.reason for row in outcome.left_out} == {recordings.SAME_NAME}


def test_several_corpora_become_one(vctk, tmp_path):
    other = speech.write_common_voice(tmp_path / "es", TEXTS[:3])
    corpus = prepare(request(vctk, tmp_path / "prepared", sources=(vctk, other))).corpus
    assert corpus.shared.languages == ("en", "es")
    assert len(corpus.clips) == len(TEXTS) + 3


def test_a_corpus_of_which_nothing_can_be_used_says_why_and_lists_all(tmp_path):
    folder = speech.write_ljspeech(tmp_path / "corpus", TEXTS[:2])
    for path in folder.glob("wavs/*.wav"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"None of the 2 recordings .*corpus can be trained on.*LJ001-0000: unreadable"):
        prepare(request(folder, tmp_path / "prepared"))
    assert len(left_out(tmp_path / "prepared")) == 2


def test_an_unknown_language_is_refused_before_anything_is_computed(vctk, tmp_path):
    with pytest.raises(DataError, match="'xx' is not known"):
        prepare(request(vctk, tmp_path, language="xx"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(vctk, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file cannot be written"):
        prepare(request(vctk, tmp_path / "file"))


def change_line(folder: Path, number: int, change) -> None:
    lines = (folder / MANIFEST).read_text("utf-8").splitlines()
    lines[number - 1] = change(lines[number - 1])
    (folder / MANIFEST).write_text("\n".join(lines) + "\n", "utf-8")


def changed(line: str, **values) -> str:
    return json.dumps(json.loads(line) | values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line[:40], "line 3: .*JSON"),
        (lambda line: changed(line, frames=0), "line 3: frames: .*greater than or equal to 1"),
        (lambda line: changed(line, frames=7), "line 3: durations of .* frames for 7 frames"),
        (lambda line: changed(line, durations=[1]), "line 3: 1 durations for"),
        (lambda line: changed(line, tokens=["a"]), r"line 3: tokens\.0"),
        (lambda line: changed(line, extra=1), "line 3: extra"),
        (lambda line: changed(line, speaker="nobody"), "line 3: speaker 'nobody'"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(vctk, prepared, tmp_path, change, message):
    for name in ("manifest.jsonl", "corpus.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((prepared / name).read_bytes())
    change_line(tmp_path, 3, change)
    with pytest.raises(DataError, match=rf"manifest\.jsonl, {message}"):
        read_corpus(tmp_path)


def test_features_that_are_gone_are_named(prepared, tmp_path):
    for name in ("manifest.jsonl", "corpus.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((prepared / name).read_bytes())
    corpus = read_corpus(tmp_path)
    with pytest.raises(DataError, match=r"features/.*cannot be read.*Run xtts prepare again"):
        corpus.features(corpus.clips[0])


def test_features_of_another_length_than_the_clip_are_named(prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    corpus = read_corpus(copy)
    path = copy / corpus.clips[0].features
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DataError, match=rf"{path.name} have .* frames, and .* Run xtts prepare again"):
        corpus.features(corpus.clips[0])


@pytest.mark.parametrize("character", ["\u2028", "\x85"])
def test_a_text_may_hold_what_python_takes_for_the_end_of_a_line(prepared, tmp_path, character):
    for name in ("manifest.jsonl", "corpus.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((prepared / name).read_bytes())
    corpus = read_corpus(tmp_path)
    clips = [clip.model_copy(update={"text": f"a{character}b"}) for clip in corpus.clips]
    write_corpus(tmp_path, corpus.shared, clips, corpus.tokenizer)
    assert read_corpus(tmp_path).clips == tuple(clips)


def test_a_manifest_that_is_no_text_is_named(prepared, tmp_path):
    for name in ("manifest.jsonl", "corpus.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((prepared / name).read_bytes())
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(b"\xff\n")
    with pytest.raises(DataError, match=r"manifest\.jsonl cannot be read: .*utf-8.* Run xtts prepare again"):
        read_corpus(tmp_path)
