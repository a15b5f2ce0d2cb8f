"""The loss: one named term for each target, and participation terms for the outputs without one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import reduce
from operator import add
from typing import Literal

import keras
from keras import ops

from xtts.outputs import DIFFUSION_OUTPUTS, OUTPUT_OF_TARGET, PARTICIPATION, TARGETS, target_key

Participation = Literal["regularize", "freeze", "off"]

DEFAULT_WEIGHTS: dict[str, float] = {
    "mel": 2.5,
    "stop": 1.0,
    "duration": 0.1,
    "pitch": 0.1,
    "energy": 0.1,
    "prosody_pitch": 0.1,
    "prosody_energy": 0.1,
    "prosody_speaking_rate": 0.1,
    "diffusion": 1.0,
}
PARTICIPATION_WEIGHT = 1e-6
# One frame in a hundred is the last: without a weight, "never stop" would be a good answer for long.
STOP_POSITIVE_WEIGHT = 5.0


@keras.saving.register_keras_serializable(package="xtts")
class XTTSLoss:
    """Adds up a weighted term for each target that is given.

    Each term is computed in a name scope of its own, weight included, and is a mean over what is real: padded tokens
    and frames do not count. Targets are optional one by one. An output without a target gets, with
    `participation = "regularize"`, the term `1e-6 * mean(square(output))` in the scope
    `gradient_participation/<output>`: it makes a gradient exist, and teaches nothing.

    Args:
        weights: weight of a term, by its name; a term not named has its default.
        participation: `regularize`, or `freeze` or `off`, which both add nothing here (`freeze` is
            `XTTS.freeze_heads_without_target`, before `compile`).
        participation_weight: factor of the participation terms.
        outputs: names of the model's outputs that may be read; all if left out.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        participation: Participation = "regularize",
        participation_weight: float = PARTICIPATION_WEIGHT,
        outputs: Collection[str] | None = None,
    ) -> None:
        unknown = set(weights or ()) - DEFAULT_WEIGHTS.keys()
        if unknown:
            raise ValueError(f"no loss term is called {', '.join(sorted(unknown))}")
        self.weights = {**DEFAULT_WEIGHTS, **(weights or {})}
        self.participation = participation
        self.participation_weight = participation_weight
        self.outputs = None if outputs is None else frozenset(outputs)

    def __call__(self, y_true: Mapping, y_pred: Mapping):
        """Return the loss, a scalar in float32.

        Args:
            y_true: `<target>_target` for any of `xtts.outputs.TARGETS`, with `text_lengths` `(batch,)` where a target
                is by token, and `mel_lengths` `(batch,)` where it is by frame. Shapes are those of the outputs.
                Durations are in frames.
            y_pred: outputs of the model.

        Raises:
            ValueError: there is no target at all, or one lacks its output or its lengths.
        """
        return self.total(self.terms(y_true, y_pred))

    def terms(self, y_true: Mapping, y_pred: Mapping) -> dict:
        """Return each weighted term by name, as scalars in float32; participation terms are one sum."""
        if self.outputs is not None:
            y_pred = {name: output for name, output in y_pred.items() if name in self.outputs}
        terms = {}
        for target in TARGETS:
            if target_key(target) not in y_true:
                continue
            if target == "mel" and "diffusion_pred" in y_pred:
                terms["diffusion"] = self._diffusion_term(y_true, y_pred)
            else:
                terms[target] = self._target_term(target, y_true, y_pred)
        if not terms:
            known = ", ".join(target_key(target) for target in TARGETS)
            raise ValueError(f"the loss got no target, only {_listed(y_true)}; it knows {known}")
        if self.participation == "regularize":
            terms.update(self._participation_term(y_true, y_pred))
        return terms

    def total(self, terms: Mapping):
        """Add the terms up."""
        return reduce(add, terms.values())

    def get_config(self) -> dict:
        """Return the arguments that make an equal loss, so that a compiled model can be saved."""
        return {
            "weights": self.weights,
            "participation": self.participation,
            "participation_weight": self.participation_weight,
            "outputs": None if self.outputs is None else sorted(self.outputs),
        }

    @classmethod
    def from_config(cls, config: Mapping) -> XTTSLoss:
        """Make the loss that `get_config` describes."""
        return cls(**config)

    def _target_term(self, target: str, y_true: Mapping, y_pred: Mapping):
        lengths_key = LENGTHS_OF_TERM.get(target)
        output = _take(y_pred, OUTPUT_OF_TARGET[target], "output", target)
        lengths = None if lengths_key is None else _take(y_true, lengths_key, "target", target)
        with keras.name_scope(target):
            truth = ops.cast(y_true[target_key(target)], "float32")
            error = _ERRORS[target](truth, ops.cast(output, "float32"))
            return self.weights[target] * _mean_of_real(error, lengths)

    def _diffusion_term(self, y_true: Mapping, y_pred: Mapping):
        prediction, truth = (_take(y_pred, name, "output", "diffusion") for name in DIFFUSION_OUTPUTS)
        lengths = _take(y_true, LENGTHS_OF_TERM["diffusion"], "target", "diffusion")
        with keras.name_scope("diffusion"):
            error = _squared_error(ops.cast(truth, "float32"), ops.cast(prediction, "float32"))
            return self.weights["diffusion"] * _mean_of_real(error, lengths)

    def _participation_term(self, y_true: Mapping, y_pred: Mapping) -> dict:
        untargeted = [
            output
            for target, output in OUTPUT_OF_TARGET.items()
            if output in y_pred and target_key(target) not in y_true
        ]
        values = []
        with keras.name_scope(PARTICIPATION):
            for output in untargeted:
                with keras.name_scope(output):
                    power = ops.mean(ops.square(ops.cast(y_pred[output], "float32")))
                    values.append(self.participation_weight * power)
        return {PARTICIPATION: reduce(add, values)} if values else {}


def _take(available: Mapping, key: str, kind: str, term: str):
    if key not in available:
        raise ValueError(f"the loss term {term!r} needs the {kind} {key!r}, but got only {_listed(available)}")
    return available[key]


def _listed(names) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _mean_of_real(error, lengths):
    """Return the mean of `(batch,)` or, over real positions, of `(batch, length, ...)`."""
    if lengths is None:
        return ops.mean(error)
    if len(error.shape) == 3:
        error = ops.mean(error, axis=-1)
    positions = ops.arange(ops.shape(error)[1], dtype="int32")
    real = ops.cast(positions[None, :] < ops.cast(lengths, "int32")[:, None], "float32")
    return ops.sum(error * real) / ops.maximum(ops.sum(real), 1.0)


def _absolute_error(truth, prediction):
    return ops.abs(truth - prediction)


def _squared_error(truth, prediction):
    return ops.square(truth - prediction)


def _log_duration_error(frames, prediction):
    return ops.square(ops.log1p(frames) - prediction)


def _stop_error(truth, logits):
    """Binary cross-entropy on logits, the last frame weighted."""
    weight = 1.0 + (STOP_POSITIVE_WEIGHT - 1.0) * truth
    return weight * (ops.softplus(logits) - truth * logits)


_ERRORS: dict[str, Callable] = {
    **dict.fromkeys(TARGETS, _squared_error),
    "mel": _absolute_error,
    "stop": _stop_error,
    "duration": _log_duration_error,
}
LENGTHS_OF_TERM: dict[str, str] = {
    "mel": "mel_lengths",
    "diffusion": "mel_lengths",
    "stop": "mel_lengths",
    "pitch": "mel_lengths",
    "energy": "mel_lengths",
    "duration": "text_lengths",
    "prosody_pitch": "text_lengths",
    "prosody_energy": "text_lengths",
}
"""Over what a term is a mean: what the lengths with that name add up to; over the rows of the batch, if not here."""
