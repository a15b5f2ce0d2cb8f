"""The callback, in a real `fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import AuditCallback, GateError, SubjectError

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.zeros((8, 1), "float32")
HEADS = ("left", "right")


def compiled(*targets: str, strategy: Any = None) -> keras.Model:
    """A model with two heads, of which the loss reads these."""
    scope = strategy or tf.distribute.get_strategy()
    with scope.scope():
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(8, name="hidden")(inputs)
        model = keras.Model(inputs, {head: keras.layers.Dense(1, name=head)(hidden) for head in HEADS}, name="toy")
        model.compile("adam", loss={head: "mse" if head in targets else None for head in HEADS})
    return model


class Pairs(keras.utils.PyDataset):
    """Four batches."""

    num_batches = 4

    def __getitem__(self, index: int) -> Any:
        return X[:2], {"left": Y[:2]}


DATA: dict[str, Any] = {
    "arrays": (X, {"left": Y}),
    "dataset": (tf.data.Dataset.from_tensor_slices((X, {"left": Y})).batch(4),),
    "py dataset": (Pairs(),),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_training_stops_before_its_first_step_with_the_report(data: Any) -> None:
    model = compiled("left")
    before = [value.copy() for value in model.get_weights()]
    with pytest.raises(GateError, match="2 of 6 variables will never learn") as raised:
        model.fit(*data, callbacks=[AuditCallback()], verbose=0)
    assert "model output right read by no loss term" in str(raised.value)
    assert int(model.optimizer.iterations) == 0
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_training_goes_on_where_all_trains() -> None:
    model, callback = compiled(*HEADS), AuditCallback()
    model.fit(X, dict.fromkeys(HEADS, Y), batch_size=4, epochs=2, callbacks=[callback], verbose=0)
    assert int(model.optimizer.iterations) == 4
    assert callback.audit.count("connected") == 6


def test_it_may_warn_instead() -> None:
    model = compiled("left")
    with (
        pytest.warns(UserWarning, match="toy has variables that this training will not train"),
        pytest.warns(UserWarning, match="Gradients do not exist"),
    ):
        model.fit(X, {"left": Y}, callbacks=[AuditCallback("warn")], verbose=0)
    assert int(model.optimizer.iterations) == 1


def test_the_audited_model_trains_as_it_would_have() -> None:
    def trained(*callbacks: keras.callbacks.Callback) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = compiled(*HEADS)
        model.fit(X, dict.fromkeys(HEADS, Y), batch_size=4, epochs=2, callbacks=list(callbacks), verbose=0)
        weights: list[np.ndarray] = model.get_weights()
        return weights

    for audited, plain in zip(trained(AuditCallback()), trained(), strict=True):
        np.testing.assert_array_equal(audited, plain)


def test_it_audits_what_replicas_run() -> None:
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    model = compiled("left", strategy=strategy)
    with pytest.raises(GateError, match="2 of 6 variables will never learn"):
        model.fit(X, {"left": Y}, callbacks=[AuditCallback()], verbose=0)


def test_a_batch_can_be_given_where_there_is_no_fit() -> None:
    model = compiled("left")
    callback = AuditCallback()
    callback.set_model(model)
    with pytest.raises(SubjectError, match="Pass it: AuditCallback"):
        callback.on_train_begin()
    callback = AuditCallback(batch=(X, {"left": Y}))
    callback.set_model(model)
    with pytest.raises(GateError):
        callback.on_train_begin()


def test_a_mistake_is_told_before_training() -> None:
    with pytest.raises(SubjectError, match='action must be "stop" or "warn"'):
        AuditCallback("halt")  # type: ignore[arg-type]
