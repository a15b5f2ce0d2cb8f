"""Whose voice it is: a vector for each recording, near to those of the same speaker."""

from __future__ import annotations

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import librosa
import numpy as np

from xtts.audio.decoding import Sound
from xtts.errors import EvaluationError

SAMPLE_RATE = 16_000
_WINDOW, _HOP, _CHANNELS = 400, 160, 40
_FRAMES = 160
"""Frames of a partial utterance: 1.6 s."""
_STEP = 77
"""Frames from one partial utterance to the next: 1.3 of them a second."""
_LEAST_COVERAGE = 0.75
"""The last partial utterance is left out if less of it is speech than this share."""
_LOUDNESS = 10 ** (-30 / 20)
_SILENCE_DB = 35
_LAYERS, _WIDTH = 3, 256


class SpeakerEncoder:
    """The encoder of Resemblyzer with its trained weights, without PyTorch.

    The package is not imported, only the weights in it are read: it needs PyTorch, and a module that SciPy has no more.
    Silence at the ends is cut off by loudness, not by a voice detector as there.

    Raises:
        EvaluationError: Resemblyzer is not installed.

    Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", as trained for Resemblyzer.
    """

    def __init__(self) -> None:
        weights = _read_weights(_weights_file())
        self._model = keras.Sequential(
            [
                keras.Input((_FRAMES, _CHANNELS)),
                *(keras.layers.LSTM(_WIDTH, return_sequences=n < _LAYERS - 1) for n in range(_LAYERS)),
                keras.layers.Dense(_WIDTH, "relu"),
                keras.layers.UnitNormalization(),
            ],
            name="speaker_encoder",
        )
        for number, layer in enumerate(self._model.layers[:_LAYERS]):
            kernel, recurrent, *biases = (
                weights[f"lstm.{name}_l{number}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            layer.set_weights([kernel.T, recurrent.T, sum(biases)])
        self._model.layers[_LAYERS].set_weights([weights["linear.weight"].T, weights["linear.bias"]])

    def __call__(self, sound: Sound) -> np.ndarray:
        """Return the voice of a sound as a unit vector `(256,)`; the cosine of two says how alike they are."""
        partials = np.stack(_partial_mels(_prepared(sound)))
        mean = np.mean(np.asarray(self._model(partials)), axis=0)
        return mean / np.linalg.norm(mean)


def _prepared(sound: Sound) -> np.ndarray:
    """The samples at the encoder's rate, without silence at their ends, and not quieter than it was trained on."""
    samples, _ = librosa.effects.trim(sound.at_rate(SAMPLE_RATE).samples, top_db=_SILENCE_DB)
    loudness = np.sqrt(np.mean(np.square(samples)))
    return samples * max(1.0, _LOUDNESS / max(loudness, 1e-9))


def _partial_mels(samples: np.ndarray) -> list[np.ndarray]:
    """Overlapping pieces of 1.6 s as mels `(160, 40)`, the last one padded."""
    frames = -(-(len(samples) + 1) // _HOP)
    starts = list(range(0, max(1, frames - _FRAMES + _STEP + 1), _STEP))
    if len(starts) > 1 and (len(samples) / _HOP - starts[-1]) / _FRAMES < _LEAST_COVERAGE:
        starts.pop()
    padded = np.pad(samples, (0, max(0, (starts[-1] + _FRAMES) * _HOP - len(samples))))
    mel = librosa.feature.melspectrogram(
        y=padded, sr=SAMPLE_RATE, n_fft=_WINDOW, hop_length=_HOP, n_mels=_CHANNELS
    ).T.astype(np.float32)
    return [mel[start : start + _FRAMES] for start in starts]


# ---------------------------------------------------------------------------------------------------------- the weights


def _weights_file() -> Path:
    found = importlib.util.find_spec("resemblyzer")
    if found is None or found.origin is None:
        raise EvaluationError("Speaker similarity needs the weights of Resemblyzer: install gradaudit[evaluate].")
    return Path(found.origin).with_name("pretrained.pt")


def _read_weights(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a model that PyTorch saved in its format of before version 1.6, by name.

    That is five pickles in a row (a magic number, a version, facts of the machine, the tensors' shapes by storage, the
    storages' names), and then for each storage its length and its numbers.
    """
    with file.open("rb") as stream:
        _, _, _, saved, keys = (_ShapesByStorage(stream).load() for _ in range(5))
        storages = {}
        for key in keys:
            (length,) = np.frombuffer(stream.read(8), "<i8")
            storages[key] = np.frombuffer(stream.read(4 * int(length)), "<f4")
    return {
        name: storages[key][offset : offset + int(np.prod(shape))].reshape(shape)
        for name, (key, offset, shape) in saved["model_state"].items()
    }


class _ShapesByStorage(pickle.Unpickler):
    """Reads where each tensor's numbers are to be found, and makes nothing else of what it reads."""

    def persistent_load(self, saved: Any) -> Any:
        """Return the name of a storage."""
        return saved[2]

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class or function of PyTorch; nothing else is asked for."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, *_: (storage, offset, shape)
        if module == "torch" and name.endswith("Storage"):
            return name
        if module.startswith("torch."):
            return lambda *_: None
        raise pickle.UnpicklingError(f"{module}.{name} is not expected among the weights of a speaker encoder")
