"""What a training does beside its steps: it audits itself, validates, logs, draws, and stops where it has to."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboardX.proto.event_pb2 import Event

from tests.xtts.conftest import QUICK, SEED_CONFIG, TINY, checkpoints, config_with, logged, train_in, unheard
from xtts.config import read_tables
from xtts.data.generated import GeneratedBatches
from xtts.data.stream import FIRST_HELD_OUT, BatchStream
from xtts.errors import AuditFailure, ConfigError, NotFiniteError, RunError
from xtts.layers.attention import MultiHeadAttention
from xtts.subject import read_training, require_trained
from xtts.training.assembly import compiled_model, held_out_batches, learning_rate, training_batches
from xtts.training.checkpoint import seeds
from xtts.training.devices import require_device
from xtts.training.gradient_norms import module_of, read_norms
from xtts.training.looking import QuietValidation
from xtts.training.loop import train
from xtts.training.pictures import draw, look
from xtts.training.run_folder import open_run
from xtts.training.stopping import EarlyStopping, FiniteGuard


def events_of(path) -> list[Event]:
    (file,) = (path / "tensorboard").iterdir()
    return [Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "watched"
    train_in(path, config_with(QUICK, optimizer={"warmup_steps": 2}))
    return path


def test_the_log_has_each_term_the_rate_the_gradient_of_each_module_and_the_validations(watched_run):
    lines = logged(watched_run)
    modules = ("text_encoder", "audio_encoder", "global_style_token", "mel_decoder")
    assert list(lines[0]) == [
        "step",
        *("loss", "mel", "stop"),
        *("val_loss", "val_mel", "val_stop"),
        *("learning_rate", "gradient_norm", *(f"gradient_norm/{module}" for module in modules)),
    ]
    assert [bool(line["val_loss"]) for line in lines] == [False, True, False, True]
    assert [float(line["learning_rate"]) for line in lines] == pytest.approx([5e-3, 7.5e-3, 1e-2, 1e-2])
    for line in lines:
        assert float(line["loss"]) == pytest.approx(float(line["mel"]) + float(line["stop"]), rel=1e-6)
        norms = [float(line[f"gradient_norm/{module}"]) for module in modules]
        assert float(line["gradient_norm"]) == pytest.approx(np.sqrt(np.sum(np.square(norms))), rel=1e-6)


def test_tensorboard_gets_the_same_curves_and_a_picture_of_each_utterance_at_each_save(watched_run):
    curves: dict[str, list[float]] = {}
    pictures = []
    for event in events_of(watched_run):
        for value in event.summary.value:
            if value.HasField("image"):
                pictures.append((event.step, value.tag, value.image.encoded_image_string[:4]))
            else:
                curves.setdefault(value.tag, []).append(value.simple_value)
    lines = logged(watched_run)
    for tag, column in {
        "training/mel": "mel",
        "validation/loss": "val_loss",
        "progress/learning_rate": "learning_rate",
        "gradient_norm/mel_decoder": "gradient_norm/mel_decoder",
        "gradient_norm/all": "gradient_norm",
    }.items():
        assert curves[tag] == pytest.approx([float(line[column]) for line in lines if line[column]], rel=1e-6), tag
    tags = [f"mel and alignment/{row}" for row in (0, 1)]
    assert pictures == [(step, tag, b"\x89PNG") for step in (2, 4) for tag in tags]


def test_the_norms_are_those_of_the_gradients_that_tensorflows_tape_gives(tiny):
    setup = tiny()
    watched = compiled_model(setup.config, watch=True)
    watched.build()
    watched.optimizer.build(watched.trainable_variables)
    setup.model.build()
    watched.set_weights(setup.model.get_weights())
    expected: dict[str, float] = {}
    for path, value in setup.gradients().items():
        expected[module_of(path)] = expected.get(module_of(path), 0.0) + float(np.sum(np.square(value)))
    watched.run_eagerly = True
    watched.fit(setup.batches, epochs=1, steps_per_epoch=1, shuffle=False, verbose=0)
    found = read_norms(watched.optimizer)
    assert found.keys() == expected.keys()
    for module, norm in found.items():
        assert norm == pytest.approx(np.sqrt(expected[module]), rel=1e-4), module


def test_watching_changes_no_loss(watched_run):
    config = config_with(QUICK, optimizer={"warmup_steps": 2})
    model = compiled_model(config)
    model.build()
    batches = training_batches(config, model)
    losses = model.fit(batches, epochs=4, steps_per_epoch=1, shuffle=False, verbose=0).history["loss"]
    assert [float(line["loss"]) for line in logged(watched_run)] == losses


# ---------------------------------------------------------------------------------------------------------- validation


def test_validation_leaves_no_trace_neither_of_noise_nor_of_averages_and_is_the_same_each_time():
    tables = {**QUICK, "model": {"preset": "tiny", "dropout": 0.1, "decoder": "diffusion"}}
    config = config_with(tables, optimizer={"ema": 0.5})
    model = compiled_model(config)
    model.build()
    model.run_eagerly = True
    model.fit(training_batches(config, model), epochs=1, steps_per_epoch=2, shuffle=False, verbose=0)
    variables = [*model.trainable_variables, *model.optimizer.variables, *seeds(model)]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    held_out = held_out_batches(config, model)
    one, other = (
        model.evaluate(held_out, verbose=0, return_dict=True, callbacks=[QuietValidation()]) for _ in range(2)
    )
    assert one == other
    assert seeds(model)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value, err_msg=variable.path)


def test_validation_is_of_averaged_weights_where_averages_are_kept():
    config = config_with(QUICK, optimizer={"ema": 0.9, "learning_rate": 1.0, "clip_norm": None})
    model = compiled_model(config)
    model.build()
    model.run_eagerly = True
    batches, held_out = training_batches(config, model), held_out_batches(config, model)
    model.optimizer.build(model.trainable_variables)
    model.fit(batches, epochs=1, steps_per_epoch=3, shuffle=False, verbose=0)
    for variable in model.trainable_variables:  # `fit` ends with the averages in their place
        variable.assign_add(0.1 * keras.ops.ones_like(variable))
    quiet = model.evaluate(held_out, verbose=0, return_dict=True, callbacks=[QuietValidation()])
    plain = model.evaluate(held_out, verbose=0, return_dict=True)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    assert quiet == model.evaluate(held_out, verbose=0, return_dict=True) != plain


def test_held_out_batches_are_of_the_same_language_and_none_that_training_gets(tiny):
    setup = tiny(train={"validation_batches": 3})
    held_out = held_out_batches(setup.config, setup.model)
    assert held_out.num_batches == 3
    assert held_out.source_index(0) == FIRST_HELD_OUT > setup.config.train.steps
    assert not np.array_equal(held_out[0][0]["text_inputs"], setup.batches[0][0]["text_inputs"])
    np.testing.assert_array_equal(held_out.source.language.spectra, setup.batches.language.spectra)


def values_of(losses: list[float], patience: int | None, best: float | None = None, waited: int = 0):
    """Show these validation losses, with steps without one between them; returns the step of the end and the rest."""
    model = keras.Sequential([keras.layers.Dense(1)])
    stopping = EarlyStopping(patience, best, waited)
    stopping.set_model(model)
    model.compile("sgd", loss="mse")
    stopping.on_train_begin()
    model.stop_training = False
    for number, loss in enumerate(losses):
        stopping.on_epoch_end(2 * number, {"loss": 1.0})
        stopping.on_epoch_end(2 * number + 1, {"loss": 1.0, "val_loss": loss})
        if model.stop_training:
            return number + 1, stopping.best, stopping.wait
    return None, stopping.best, stopping.wait


def test_training_ends_after_so_many_validations_without_a_new_best():
    assert values_of([5.0, 4.0, 4.5, 4.2, 1.0], patience=2) == (4, 4.0, 2)
    assert values_of([5.0, 4.0, 4.5, 4.2, 1.0], patience=None) == (None, 1.0, 0)


def test_a_resumed_training_has_waited_already():
    assert values_of([4.2], patience=2, best=4.0, waited=1) == (1, 4.0, 2)
    assert values_of([3.9, 4.0], patience=2, best=4.0, waited=1) == (None, 3.9, 1)


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite_stops_the_training_and_is_named_with_its_batch_and_the_last_checkpoint_stays(
    tmp_path,
):
    unbounded = {"learning_rate": 1e30, "clip_norm": None}
    config = config_with(QUICK, optimizer=unbounded, train={"save_every": 1, "validation_batches": 0})
    with pytest.raises(NotFiniteError) as caught:
        train_in(tmp_path / "run", config)
    message = str(caught.value)
    assert message.startswith(
        "Step 2: not finite in the loss: mel, stop; not finite in the gradient, first where it comes to first: "
        "mel_decoder, "
    )
    assert "It was batch 1: row 0, row 1. All that is in it is finite." in message
    assert checkpoints(tmp_path / "run")[-1] == "step-00000001.checkpoint"


def test_a_value_of_the_data_that_is_not_finite_is_named_with_its_utterance(monkeypatch):
    usual = GeneratedBatches.__getitem__

    def spoilt(self, index):
        inputs, targets = usual(self, index)
        if index == 1:
            inputs["audio_conditioning"][1, 0, 0] = np.nan
        return inputs, targets

    monkeypatch.setattr(GeneratedBatches, "__getitem__", spoilt)
    monkeypatch.setattr(
        GeneratedBatches, "utterances", lambda self, index: [f"clip-{index}-{row}" for row in (0, 1)], raising=False
    )
    with pytest.raises(
        NotFiniteError, match=r"batch 1: clip-1-0, clip-1-1. Not finite in it: audio_conditioning of clip-1-1"
    ):
        train(config_with(QUICK), unheard)


def guarded(logs: dict[str, float], scale: float | None = None) -> FiniteGuard:
    """A guard that is shown the third step after the tenth."""
    guard = FiniteGuard(BatchStream(Numbers(), first=10), start=10)
    guard.set_model(SimpleNamespace(optimizer=SimpleNamespace(dynamic_scale=scale)))
    guard.on_epoch_end(12, logs)
    return guard


def test_a_gradient_that_is_not_finite_while_the_loss_is_names_its_modules():
    guarded({"loss": 1.0, "gradient_norm": 2.0}, scale=1.0)
    norms = {"gradient_norm/text_encoder": np.nan, "gradient_norm/style": 1.0, "gradient_norm/mel_decoder": np.inf}
    with pytest.raises(NotFiniteError) as caught:
        guarded({"loss": 1.0, "mel": 1.0, "gradient_norm": np.nan, **norms})
    assert str(caught.value) == (
        "Step 13: not finite in the gradient, first where it comes to first: mel_decoder, text_encoder. "
        "It was batch 12: row 0, row 1. All that is in it is finite."
    )


def test_a_gradient_that_is_finite_at_no_scale_of_the_loss_stops_a_training_in_float16():
    with pytest.raises(NotFiniteError, match="Step 13: the gradient is not finite at any scale that float16 has"):
        guarded({"loss": 1.0}, scale=0.5)


def test_a_gpu_that_is_asked_for_and_absent_is_an_error():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU here")
    with pytest.raises(RunError, match=r'train.device is "gpu", and tensorflow sees none: .* set train.device = "cpu"'):
        require_device(read_tables({"train": {"device": "gpu"}}))
    assert require_device(read_tables({})).words == "the CPU, with tensorflow"


def test_more_devices_than_there_are_and_batches_that_they_cannot_share_evenly_are_refused(tiny):
    with pytest.raises(RunError, match=r"train.devices is 2, and tensorflow sees cpu:0 alone: ask for fewer"):
        require_device(read_tables({"train": {"devices": 2, "device": "cpu"}}))
    with pytest.raises(ConfigError, match=r"data.batch_size = 2 cannot be shared evenly among 3 devices: make it a"):
        tiny(train={"devices": 3})


# ------------------------------------------------------------------------------------------------------------ schedules


def test_the_rate_rises_over_the_warmup_and_falls_as_a_cosine_to_nothing():
    config = read_tables(
        {"optimizer": {"schedule": "cosine", "warmup_steps": 10, "learning_rate": 1.0}, "train": {"steps": 110}}
    )
    rates = [float(learning_rate(config)(step)) for step in (0, 5, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0], abs=1e-6)


def test_without_a_cosine_the_rate_stays_after_the_warmup():
    config = read_tables({"optimizer": {"warmup_steps": 10, "learning_rate": 1.0}, "train": {"steps": 110}})
    rates = [float(learning_rate(config)(step)) for step in (0, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0])


# -------------------------------------------------------------------------------------------------------------- batches


class Numbers(keras.utils.PyDataset):
    """Batches that are their own index."""

    num_batches = None

    def __getitem__(self, index):
        return {"number": np.full((2, 1), index)}, {}


@pytest.mark.parametrize("workers", [1, 4])
def test_a_stream_gives_the_batches_from_its_first_on_whoever_makes_them(workers):
    stream = BatchStream(Numbers(workers=workers), first=7)
    indices = [0, 1, 0, 1, 2, 3]  # Keras looks at two batches before it begins
    assert [int(stream[index][0]["number"][0, 0]) for index in indices] == [7, 8, 7, 8, 9, 10]
    assert stream.utterances(3) == ("row 0", "row 1")


def test_a_stream_that_repeats_has_one_batch():
    stream = BatchStream(Numbers(workers=4), repeat=True)
    assert {int(stream[index][0]["number"][0, 0]) for index in range(5)} == {0}


def test_overfitting_trains_on_one_batch_again_and_again_whose_loss_falls():
    losses = []
    config = config_with(QUICK, train={"steps": 12}, optimizer={"learning_rate": 3e-2})
    train(config, lambda _, found: losses.append(found["loss"]), overfit=True)
    assert losses[-1] < 0.9 * losses[0]
    assert sorted(losses, reverse=True)[:6] == losses[:6]


# ------------------------------------------------------------------------------------------------------------- pictures


def test_attention_as_shown_is_a_mean_of_weights_that_sum_to_one_and_looking_leaves_nothing_behind(tiny):
    setup = tiny(model={"dropout": 0.1, "decoder": "diffusion"})
    setup.model.build()
    inputs, _ = setup.batches[0]
    before = [np.array(state) for state in seeds(setup.model)]
    sights = look(setup.model, inputs)
    assert len(sights) == 2
    for sight, frames, tokens in zip(sights, inputs["mel_lengths"], inputs["text_lengths"], strict=True):
        assert sight.alignment.shape == (frames, tokens)
        np.testing.assert_allclose(sight.alignment.sum(axis=1), 1.0, rtol=1e-5)
        assert sight.target.shape == sight.prediction.shape == (frames, 16)
    assert all(block.cross_attention.observer is None for block in setup.model.decoder.blocks)
    for state, value in zip(seeds(setup.model), before, strict=True):
        np.testing.assert_array_equal(np.array(state), value)
    assert draw(sights[0]).startswith(b"\x89PNG")


def test_attention_as_shown_is_what_the_layer_multiplies_its_values_with():
    attention = MultiHeadAttention(8, 2)
    random = np.random.default_rng(0)
    queries, memory = (random.normal(size=(2, length, 8)).astype("float32") for length in (5, 7))
    visible = np.arange(7)[None, None, None, :] < np.array([7, 4])[:, None, None, None]
    seen = []
    attention.build((2, 5, 8), (2, 7, 8))
    attention.observer = seen.append
    result = attention(queries, memory, visible)
    values = np.array(attention.value(memory)).reshape(2, 7, 2, 4)
    gathered = np.einsum("bhqk,bkhc->bqhc", np.array(seen[0]), values).reshape(2, 5, 8)
    np.testing.assert_allclose(np.array(attention.result(gathered)), np.array(result), atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------- audit


def test_a_step_of_which_variables_would_never_learn_is_refused_with_the_report():
    with pytest.raises(AuditFailure, match="18 of 96 variables will never learn"):
        require_trained(read_training(SEED_CONFIG, "minimal-unpatched", TINY))


def test_a_step_that_trains_passes_with_the_verdict_in_a_line():
    verdict = require_trained(read_training(SEED_CONFIG, "minimal", TINY))
    assert verdict.startswith("audited 96 variables in ")
    assert verdict.endswith(" s: 78 connected, 18 participation-only")


def test_the_gate_is_that_of_the_file_in_a_run_folder_too(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text(
        '[gradaudit]\nsubject = "xtts.subject:subject"\nfail-on = ["opaque"]\n'
        '[[gradaudit.may-be-disconnected]]\nvariables = ["*/pitch_projection/*"]\nreason = "later \\"perhaps\\""\n'
        '[[gradaudit.scenario]]\nname = "few"\nset = {"data.targets" = ["mel"], "loss.participation" = "off"}\n'
        '[[gradaudit.scenario]]\nname = "all"\n'
    )
    training = read_training(file, "few", TINY)
    with open_run(tmp_path / "run", training.config, training.audited_as, resume=False) as folder:
        folder.settle()
    again = read_training(tmp_path / "run" / "config.toml")
    assert again.config == training.config
    for name in ("scenario", "fail_on", "contracts", "participation_scopes"):
        assert getattr(again.plan, name) == getattr(training.plan, name), name
    assert "disconnected" in require_trained(again)


def test_an_audit_leaves_no_trace_in_the_losses():
    def losses(audited: bool) -> list[float]:
        found: list[float] = []
        training = read_training(SEED_CONFIG, "minimal", [*TINY, "model.dropout=0.1", "train.steps=2"])
        if audited:
            require_trained(training)
        train(training.config, lambda _, values: found.append(values["loss"]))
        return found

    assert losses(audited=True) == losses(audited=False)
