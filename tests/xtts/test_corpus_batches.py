"""Batches of a prepared corpus: of seed and index alone, in few shapes, with targets that fit; `fit` trains on them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

from gradaudit import audit
from gradaudit.errors import ConfigError as AuditConfigError
from tests.xtts import speech
from xtts.audio.settings import AudioSettings
from xtts.config import read_tables
from xtts.data.corpus_batches import BatchSizes, CorpusBatches
from xtts.data.manifest import PreparedCorpus
from xtts.data.preparing import Request, prepare
from xtts.errors import ConfigError, DataError
from xtts.outputs import TARGETS
from xtts.subject import subject
from xtts.training.assembly import compiled_model, training_batches

ROOT = Path(__file__).resolve().parents[2]
SIZES = BatchSizes(shapes=3, frames_in_batch=400, reference_frames=40)
DATA = {"shapes": 3, "frames_in_batch": 400, "reference_frames": 40}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> PreparedCorpus:
    """Sixteen clips of three speakers, one of whom has a single clip."""
    folder = speech.write_pipe(tmp_path_factory.mktemp("corpora") / "corpus", speech.sentences(16, seed=8))
    table = folder / "metadata.csv"
    lines = table.read_text("utf-8").replace("voice2", "voice1").splitlines()
    lines[1] = lines[1].rpartition("|")[0] + "|alone"
    table.write_text("\n".join(lines), "utf-8")
    audio = AudioSettings(sample_rate=speech.RATE, mel_channels=16)
    output = tmp_path_factory.mktemp("prepared")
    request = Request((folder,), output, language="it", audio=audio, held_out=0.2, alignment_steps=2)
    return prepare(request).corpus


def batches(corpus: PreparedCorpus, **arguments) -> CorpusBatches:
    return CorpusBatches(corpus, SIZES, **arguments)


def rows(of: CorpusBatches, count: int):
    """Rows of the first batches, each with the clip that it is of."""
    for index in range(count):
        inputs, targets = of[index]
        for row, number in enumerate(of.plan.batch(index).clips):
            both = {**inputs, **targets}
            yield of.clips[number], {name: values[row] for name, values in both.items()}


def test_a_batch_follows_from_seed_and_index_alone(corpus):
    for index in (30, 2):
        for one, other in zip(batches(corpus, seed=3)[index], batches(corpus, seed=3)[index], strict=True):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[key], other[key]) for key in one)
    one, other = (batches(corpus, seed=seed)[0][0]["text_inputs"] for seed in (3, 4))
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_no_batch_has_a_shape_that_was_not_announced(corpus):
    of = batches(corpus)
    seen = set()
    for index in range(3 * of.batches_in_epoch):
        inputs, targets = of[index]
        count, frames, channels = inputs["mel_inputs"].shape
        seen.add((count, inputs["text_inputs"].shape[1], frames))
        assert channels == 16
        assert inputs["audio_conditioning"].shape == (count, 40, 16)
        assert targets["duration_target"].shape == targets["prosody_pitch_target"].shape == inputs["text_inputs"].shape
        assert targets["pitch_target"].shape == targets["stop_target"].shape == (count, frames)
    assert seen == {(shape.batch_size, shape.tokens, shape.frames) for shape in of.shapes}
    assert len(seen) == 3


def test_every_training_clip_comes_in_every_epoch_and_no_other(corpus):
    of = batches(corpus)
    seen = Counter(clip.name for clip, _ in rows(of, of.batches_in_epoch))
    assert set(seen) == {clip.name for clip in corpus.part(held_out=False)}


def test_targets_are_those_of_the_clip(corpus):
    shared = corpus.shared
    for clip, row in rows(batches(corpus), 6):
        features, frames, tokens = corpus.features(clip), clip.frames, len(clip.tokens)
        np.testing.assert_array_equal(row["text_inputs"][:tokens], clip.tokens)
        np.testing.assert_array_equal(row["duration_target"][:tokens], clip.durations)
        assert (row["text_lengths"], row["mel_lengths"]) == (tokens, frames)
        np.testing.assert_allclose(shared.mel.restore(row["mel_target"][:frames]), features.log_mel, atol=1e-4)
        np.testing.assert_array_equal(row["mel_target"], row["mel_inputs"])
        assert np.argmax(row["stop_target"]) == frames - 1
        rate = np.log(tokens / (frames / shared.audio.frames_per_second))
        assert row["prosody_speaking_rate_target"] == pytest.approx(rate, rel=1e-5)
        for name in ("mel_target", "pitch_target", "energy_target"):
            assert not row[name][frames:].any()


def test_a_tokens_pitch_is_the_mean_of_its_voiced_frames_and_its_energy_of_all(corpus):
    for clip, row in rows(batches(corpus), 6):
        voiced = corpus.features(clip).pitch > 0
        assert not row["pitch_target"][: clip.frames][~voiced].any()
        ends = np.cumsum(clip.durations)
        for token, (begin, end) in enumerate(zip(ends - clip.durations, ends, strict=True)):
            pitches = row["pitch_target"][begin:end][voiced[begin:end]]
            expected = pitches.mean() if len(pitches) else 0.0
            assert row["prosody_pitch_target"][token] == pytest.approx(expected, abs=1e-5)
            energy = row["energy_target"][begin:end].mean()
            assert row["prosody_energy_target"][token] == pytest.approx(energy, abs=1e-4)


def test_pitch_is_normalised_by_speaker_and_energy_over_the_corpus(corpus):
    of = batches(corpus)
    pitches, energies = {}, []
    for clip, row in {clip.name: (clip, row) for clip, row in rows(of, of.batches_in_epoch)}.values():
        pitch = row["pitch_target"]
        pitches.setdefault(clip.speaker, []).append(pitch[pitch != 0])
        energies.append(row["energy_target"][: clip.frames])
    for values in map(np.concatenate, pitches.values()):
        assert values.mean() == pytest.approx(0, abs=0.02)
        assert values.std() == pytest.approx(1, abs=0.02)
    assert np.concatenate(energies).std() == pytest.approx(1, abs=0.02)


def test_the_reference_is_another_clip_of_the_same_speaker_or_the_only_one(corpus):
    training = corpus.part(held_out=False)
    mels = {clip.name: corpus.shared.mel.normalise(corpus.features(clip).log_mel) for clip in training}
    speakers = {clip.name: clip.speaker for clip in training}
    counts = Counter(speakers.values())
    assert counts["alone"] == 1
    pairs = Counter()
    for clip, row in rows(batches(corpus), 20):
        reference = row["audio_conditioning"][: row["audio_lengths"]]
        sources = [name for name, mel in mels.items() if is_piece(reference, mel)]
        assert len(sources) == 1
        assert speakers[sources[0]] == clip.speaker
        assert (sources[0] == clip.name) == (counts[clip.speaker] == 1)
        pairs[clip.name, sources[0]] += 1
    assert len(pairs) > len(training)


def is_piece(piece: np.ndarray, whole: np.ndarray) -> bool:
    return any(np.array_equal(piece, whole[begin : begin + len(piece)]) for begin in range(len(whole) - len(piece) + 1))


def test_held_out_clips_come_in_batches_of_their_own_with_references_from_training(corpus):
    of = batches(corpus, held_out=True)
    held_out = {clip.name for clip in corpus.part(held_out=True)}
    assert {clip.name for clip, _ in rows(of, of.batches_in_epoch)} == held_out
    mels = [corpus.shared.mel.normalise(corpus.features(clip).log_mel) for clip in corpus.part(held_out=False)]
    for _, row in rows(of, of.batches_in_epoch):
        assert any(is_piece(row["audio_conditioning"][: row["audio_lengths"]], mel) for mel in mels)


def test_a_corpus_that_holds_nothing_out_says_so(corpus):
    everything = PreparedCorpus(corpus.folder, corpus.shared, corpus.part(held_out=False), corpus.tokenizer)
    with pytest.raises(DataError, match="greater --held-out"):
        batches(everything, held_out=True)


def configured(corpus: PreparedCorpus, **tables):
    data = {"corpus": str(corpus.folder), **DATA, **tables.pop("data", {})}
    return read_tables({"model": {"preset": "tiny", **tables.pop("model", {})}, "data": data, **tables})


def test_vocabulary_and_mels_of_the_model_follow_the_corpus(corpus):
    model = compiled_model(configured(corpus))
    assert model.architecture.vocabulary_size == corpus.tokenizer.vocabulary_size
    assert model.architecture.mel_channels == 16
    same = {"mel_channels": 16, "vocabulary_size": corpus.tokenizer.vocabulary_size}
    assert compiled_model(configured(corpus, model=same)).architecture == model.architecture


@pytest.mark.parametrize("key", ["vocabulary_size", "mel_channels"])
def test_a_model_that_contradicts_the_corpus_is_refused(corpus, key):
    with pytest.raises(ConfigError, match=rf"model\.{key} = 5 contradicts the corpus .*: leave it out"):
        compiled_model(configured(corpus, model={key: 5}))


def test_a_corpus_that_is_not_there_is_named(tmp_path):
    config = read_tables({"data": {"corpus": str(tmp_path)}})
    with pytest.raises(DataError, match="no prepared corpus"):
        compiled_model(config)
    with pytest.raises(AuditConfigError, match="no prepared corpus"):
        subject({"data": {"corpus": str(tmp_path)}})


def test_training_on_a_corpus_connects_every_variable(corpus):
    tables = {"model": {"preset": "tiny"}, "data": {"corpus": str(corpus.folder), **DATA}}
    report = audit(subject(tables))
    assert {variable.status for variable in report.variables} == {"connected"}


@pytest.mark.slow
def test_fit_trains_on_all_shapes_whatever_the_number_of_workers(corpus):
    keras.utils.set_random_seed(0)
    model = compiled_model(configured(corpus, optimizer={"learning_rate": 3e-3}))
    model.build()
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    beginning = [keras.ops.convert_to_numpy(variable) for variable in variables]
    for workers in (1, 3):
        for variable, value in zip(variables, beginning, strict=True):
            variable.assign(value)
        of = training_batches(configured(corpus, data={"workers": workers}), model)
        assert of.workers == workers
        assert of[0][0]["mel_inputs"].shape != of[1][0]["mel_inputs"].shape
        history = model.fit(of, epochs=4, steps_per_epoch=of.batches_in_epoch, shuffle=False, verbose=0).history
        assert set(history) == {"loss", *TARGETS}
        assert np.isfinite(history["loss"]).all()
        assert history["mel"][-1] < 0.9 * history["mel"][0]


PROGRAM = """
import sys
import jax
from xtts.config import read_tables
from xtts.training.assembly import compiled_model, training_batches

data = {"corpus": sys.argv[1], "shapes": 2, "frames_in_batch": 400, "reference_frames": 40, "targets": ["mel", "stop"]}
model = {"preset": "tiny", "decoder": "autoregressive"}
config = read_tables({"model": model, "data": data, "train": {"jit_compile": True}, "optimizer": {"name": "sgd"}})
model = compiled_model(config)
batches = training_batches(config, model)
model.build()
model.optimizer.build(model.trainable_variables)
jax.config.update("jax_log_compiles", True)
model.fit(batches, epochs=2, steps_per_epoch=batches.batches_in_epoch, shuffle=False, verbose=0)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed here")
def test_xla_compiles_the_step_once_for_each_shape(corpus):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, str(corpus.folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"Finished XLA compilation of jit\(\w*train_step\w*\)", run.stderr)) == 2, run.stderr
