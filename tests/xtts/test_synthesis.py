"""From a training to a voice: a run folder speaks, says why it cannot, and is written as a file that needs no xtts."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.xtts import speech
from tests.xtts.conftest import begin_in, train_in
from tests.xtts.test_training import events_of
from tests.xtts.test_xtts_cli import run
from xtts.audio.decoding import decode
from xtts.audio.features import log_mel_spectrogram
from xtts.audio.settings import AudioSettings
from xtts.audio.vocoder import griffin_lim
from xtts.config import Config, read_tables
from xtts.data.manifest import read_corpus
from xtts.data.preparing import Request, prepare
from xtts.errors import DataError, SynthesisError
from xtts.evaluation.evaluating import KINDS
from xtts.synthesis.synthesizer import Manner
from xtts.synthesis.trained import read_trained
from xtts.training.sounds import sentences_of

AUDIO = AudioSettings(sample_rate=speech.RATE, mel_channels=16)
SHORT = Manner(longest=1.0, steps=2)
needs_resemblyzer = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None, reason="resemblyzer is not installed here"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = speech.write_pipe(tmp_path_factory.mktemp("corpora") / "corpus", speech.sentences(8, seed=8))
    output = tmp_path_factory.mktemp("prepared")
    return prepare(
        Request((folder,), output, language="it", audio=AUDIO, held_out=0.4, alignment_steps=2)
    ).corpus.folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, speech.say("sa fi")[0], speech.RATE)
    return path


@pytest.fixture(scope="module")
def trained_runs(corpus: Path, tmp_path_factory) -> dict[str, Path]:
    """Run folders by what decodes: one that was trained and heard at each save, and some that were not trained yet."""
    runs = {name: tmp_path_factory.mktemp(name) / "run" for name in ("aligned", "free", "diffusion")}
    train = {"steps": 2, "save_every": 1, "validation_batches": 1, "sentences": ["sa fi", "to"]}
    train_in(runs["aligned"], training_of(corpus, train, aligned=True))
    begin_in(runs["free"], training_of(corpus, {}))
    begin_in(runs["diffusion"], training_of(corpus, {}, decoder="diffusion", aligned=True))
    return runs


def training_of(corpus: Path, train: dict[str, object], **model: object) -> Config:
    data = {"corpus": str(corpus), "shapes": 2, "frames_in_batch": 300, "reference_frames": 40, "workers": 1}
    return read_tables({"model": {"preset": "tiny", **model}, "data": data, "train": {"steps": 1, **train}})


def synthesize(monkeypatch, checkpoint: Path, voice: Path, output: Path, *options: str) -> int:
    return run(
        monkeypatch,
        *("synthesize", "--checkpoint", str(checkpoint), "--speaker", str(voice), "-o", str(output)),
        *("--language", "it", "--longest", "1", "--steps", "2"),
        *(options or ("--text", "sa fi")),
    )


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["aligned", "diffusion"])
def test_a_run_folder_says_a_text(decoder, trained_runs, recording, monkeypatch, tmp_path):
    output = tmp_path / "said.wav"
    assert synthesize(monkeypatch, trained_runs[decoder], recording, output) == 0
    samples, rate = soundfile.read(output)
    assert rate == speech.RATE
    assert 0.05 < len(samples) / rate <= 1.1
    assert np.abs(samples).max() > 0


@pytest.mark.slow
def test_tensorboard_lets_the_configured_sentences_be_heard_at_each_save(trained_runs):
    heard = [
        (event.step, value.tag, soundfile.read(io.BytesIO(value.audio.encoded_audio_string)))
        for event in events_of(trained_runs["aligned"])
        for value in event.summary.value
        if value.HasField("audio")
    ]
    assert [(step, tag) for step, tag, _ in heard] == [(step, f"speech/{row}") for step in (1, 2) for row in (0, 1)]
    assert all(rate == speech.RATE and np.abs(samples).max() > 0 for *_, (samples, rate) in heard)


def test_without_sentences_each_voice_says_the_first_that_it_has_held_out(corpus):
    prepared = read_corpus(corpus)
    clips = {clip.speaker: clip for clip in reversed(prepared.part(held_out=True))}
    sentences = sentences_of(training_of(corpus, {}), prepared)
    assert {sentence.text for sentence in sentences} == {clip.text for clip in clips.values()}
    assert len(sentences) == len(clips) > 1


def test_a_corpus_without_its_recordings_is_trained_on_and_spoken_of(corpus, tmp_path):
    moved = Path(shutil.copytree(corpus, tmp_path / "moved"))
    manifest = moved / "manifest.jsonl"
    manifest.write_text(re.sub(r'"audio":"[^"]*"', '"audio":"/nowhere.wav"', manifest.read_text("utf-8")), "utf-8")
    prepared = read_corpus(moved)
    assert not any(Path(clip.audio).exists() for clip in prepared.clips)
    assert sentences_of(training_of(moved, {}), prepared)


def test_what_is_refused_leaves_no_run_folder(corpus, tmp_path):
    with pytest.raises(DataError, match="never saw"):
        train_in(tmp_path / "run", training_of(corpus, {"sentences": ["saß"], "validation_batches": 1}))
    assert not (tmp_path / "run").exists()


def test_a_sentence_with_characters_that_the_tokenizer_never_saw_is_refused_before_the_first_step(corpus):
    with pytest.raises(DataError, match="characters that the tokenizer never saw"):
        sentences_of(training_of(corpus, {"sentences": ["saß"]}), read_corpus(corpus))


@pytest.mark.slow
def test_the_same_seed_says_the_same(trained_runs, recording):
    synthesizer = read_trained(trained_runs["diffusion"]).synthesizer()
    mels = [
        synthesizer.log_mel("sa fi", decode(recording), "it", Manner(1.0, steps=2, seed=seed)) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(mels[0], mels[1])
    assert not np.allclose(mels[0], mels[2])


@pytest.mark.slow
def test_a_run_folder_speaks_when_its_corpus_is_gone(trained_runs, recording, tmp_path):
    run_folder = trained_runs["aligned"]
    moved = tmp_path / "moved"
    moved.symlink_to(run_folder)
    trained = read_trained(moved)
    assert trained.folder == moved
    assert trained.step == 2
    assert len(trained.synthesizer().log_mel("sa", decode(recording), "it", SHORT))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--text", "sa ж"), ("'sa ж'", "'ж'", "never saw")),
        (("--text", " "), ("nothing that could be spoken",)),
        (("--text", "sa", "--language", "xx"), ("'xx'", "en, ")),
        (("--text", "sa", "--longest", "nan"), ("--longest", "nan is no number")),
        (("--text", "sa", "--output", "said.mp3"), ("said.mp3", ".wav")),
        (("--text", "sa", "--output", "no/such/said.wav"), ("no/such", "said.wav")),
        (("--text", "sa", "--speaker", "nobody.wav"), ("nobody.wav",)),
        (("--text", "sa", "--checkpoint", "nowhere"), ("nowhere", "xtts train --output")),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(options, words, trained_runs, recording, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert synthesize(monkeypatch, trained_runs["aligned"], recording, tmp_path / "said.wav", *options) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_speech_that_does_not_end_is_an_error_with_a_next_step(trained_runs, recording):
    trained = read_trained(trained_runs["free"])
    trained.model.decoder.stop_projection.bias.assign([-50.0])
    with pytest.raises(SynthesisError, match=r"'sa' has not ended after 1 s. Allow for more seconds"):
        trained.synthesizer().speak("sa", decode(recording), "it", SHORT)


@pytest.mark.slow
def test_a_model_of_generated_batches_does_not_speak(monkeypatch, recording, tmp_path, capsys):
    data = {"batch_size": 2, "most_tokens": 8, "most_frames": 30, "reference_frames": 20}
    begin_in(tmp_path / "run", read_tables({"model": {"preset": "tiny"}, "data": data}))
    assert synthesize(monkeypatch, tmp_path / "run", recording, tmp_path / "said.wav") == 2
    assert "generated batches" in capsys.readouterr().err


ALONE = """
import json, sys
import numpy as np, tensorflow as tf, tokenizers
folder, mel = sys.argv[1], np.load(sys.argv[2])
assert "xtts" not in sys.modules
settings = json.load(open(folder + "/settings.json"))
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
ids = tokenizer.encode("sa fi", add_special_tokens=False).ids
ids = [tokenizer.token_to_id("[it]"), *ids, tokenizer.token_to_id("[end]")]
model = tf.saved_model.load(folder + "/model")
spoken = model.serve({
    "text_inputs": np.asarray([ids], "int32"),
    "text_lengths": np.asarray([len(ids)], "int32"),
    "audio_conditioning": mel[None],
    "audio_lengths": np.asarray([len(mel)], "int32"),
    "noise": np.random.normal(size=(1, settings["limit"], mel.shape[-1])).astype("float32"),
})
said = spoken["mel"][0, : spoken["mel_lengths"][0]]
np.save(sys.argv[3], said * settings["mel"]["deviation"] + settings["mel"]["mean"])
"""


@pytest.mark.slow
def test_an_exported_model_says_the_same_without_this_package(trained_runs, recording, monkeypatch, tmp_path, capsys):
    folder = tmp_path / "exported"
    arguments = ("export", "--checkpoint", str(trained_runs["aligned"]), "-o", str(folder), "--longest", "1")
    assert run(monkeypatch, *arguments) == 0
    assert run(monkeypatch, *arguments) == 2  # it is there already
    assert "is there already" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model", "settings.json", "tokenizer.json"]
    assert json.loads((folder / "settings.json").read_text())["audio"]["sample_rate"] == speech.RATE

    trained = read_trained(trained_runs["aligned"])
    mel = trained.shared.mel.normalise(log_mel_spectrogram(decode(recording).samples, AUDIO))
    np.save(tmp_path / "mel.npy", mel)
    command = [sys.executable, "-I", "-c", ALONE, str(folder), str(tmp_path / "mel.npy"), str(tmp_path / "said.npy")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = trained.synthesizer().log_mel("sa fi", decode(recording), "it", SHORT)
    np.testing.assert_allclose(np.load(tmp_path / "said.npy"), expected, atol=1e-3)


def test_the_vocoder_gives_back_what_the_mel_was_made_of():
    samples, _ = speech.say("sa fi ku")
    mel = log_mel_spectrogram(samples, AudioSettings(sample_rate=speech.RATE))
    again = griffin_lim(mel, AudioSettings(sample_rate=speech.RATE))
    assert again.rate == speech.RATE
    assert abs(len(again.samples) - len(samples)) <= AUDIO.hop
    mel_again = log_mel_spectrogram(again.samples, AudioSettings(sample_rate=speech.RATE))
    loud = mel > -5
    assert np.abs(mel_again[: len(mel)] - mel)[loud].mean() < 0.2
    np.testing.assert_array_equal(again.samples, griffin_lim(mel, AudioSettings(sample_rate=speech.RATE)).samples)


@pytest.mark.slow
@needs_resemblyzer
def test_a_model_is_measured_beside_the_recordings_and_their_copies(
    corpus,
    trained_runs,
    monkeypatch,
    tmp_path,
    capsys,
):
    output = tmp_path / "measured" / "evaluation.json"
    command = ("evaluate", "--checkpoint", str(trained_runs["aligned"]), "--clips", "2", "--output", str(output))
    options = ("--sounds", str(tmp_path / "sounds"), "--other-voices", str(corpus))
    assert run(monkeypatch, *command, *options) == 0
    assert "copy-synthesis" in capsys.readouterr().out
    recording, copy, synthesis = json.loads(output.read_text())["measures"]
    assert recording["mel"] == pytest.approx(0, abs=1e-3)
    assert recording["mel"] < copy["mel"] < synthesis["mel"]
    assert recording["cer"] is None  # the recogniser knows English alone
    assert all(0 < row["own_voice"] <= 1 for row in (recording, copy, synthesis))
    for number, folder in enumerate(sorted((tmp_path / "sounds").iterdir()), start=1):
        assert folder.name.startswith(f"00{number}-")
        assert (folder / "spectrograms.png").read_bytes()[:4] == b"\x89PNG"
        assert all(soundfile.info(folder / f"{kind}.wav").frames for kind in KINDS)


@pytest.mark.slow
@needs_resemblyzer
def test_a_corpus_of_other_settings_is_refused(trained_runs, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "evaluate", "--checkpoint", str(trained_runs["aligned"]), "--corpus", str(tmp_path)) == 2
    assert str(tmp_path) in capsys.readouterr().err
