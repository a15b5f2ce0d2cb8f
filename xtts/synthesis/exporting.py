"""Writes a trained model as a SavedModel that speaks without this package."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import keras

from xtts.data.manifest import TOKENIZER
from xtts.errors import RunError
from xtts.synthesis.synthesizer import Speech
from xtts.synthesis.trained import Trained

README = """# A text-to-speech model

Needs TensorFlow, and `tokenizers` for texts; nothing else.

    import json, numpy as np, tensorflow as tf, tokenizers

    settings = json.load(open("settings.json"))
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    ids = [tokenizer.token_to_id("[en]"), *ids, tokenizer.token_to_id("[end]")]
    model = tf.saved_model.load("model")
    spoken = model.serve({
        "text_inputs": np.asarray([ids], "int32"),                    # (batch, tokens)
        "text_lengths": np.asarray([len(ids)], "int32"),              # (batch,)
        "audio_conditioning": mel[None],                              # (batch, frames, channels), float32
        "audio_lengths": np.asarray([len(mel)], "int32"),             # (batch,)
        "noise": np.random.normal(size=(1, settings["limit"], mel.shape[-1])).astype("float32"),
    })
    log_mel = spoken["mel"][0, : spoken["mel_lengths"][0]] * settings["mel"]["deviation"] + settings["mel"]["mean"]

Texts are in lower case, with numbers written as words. `mel` is the natural logarithm of the mel spectrogram of a
reference recording, made with `settings["audio"]`, less `settings["mel"]["mean"]`, over its deviation. A length of 0
means that the speech did not end within `settings["limit"]` frames. The noise is for a diffusion decoder alone.
"""


def require_new(folder: Path) -> None:
    """Check that a folder can be made.

    Raises:
        RunError: there is something already.
    """
    if folder.exists():
        raise RunError(f"{folder} is there already: name a folder that is not, or move it away.")


def export(trained: Trained, folder: Path, longest: float) -> None:
    """Write the model, its tokenizer, settings and how to use them: all of it, or nothing.

    Args:
        trained: the model.
        folder: a folder that is not there yet.
        longest: seconds of speech that it is made for.

    Raises:
        RunError: Keras runs on another backend than TensorFlow, or the folder cannot be written.
    """
    if keras.backend.backend() != "tensorflow":
        raise RunError(f"A SavedModel is written on TensorFlow, not on {keras.backend.backend()}: unset KERAS_BACKEND.")
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        _write(trained, beside, longest)
        beside.rename(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(trained: Trained, folder: Path, longest: float) -> None:
    audio = trained.shared.audio
    limit = max(1, round(longest * audio.frames_per_second))
    speech = Speech(trained.model, limit)
    speech.build()
    archive = keras.export.ExportArchive()
    archive.track(speech)
    archive.add_endpoint("serve", speech.call, [_signature(limit, audio.mel_channels)])
    archive.write_out(str(folder / "model"), verbose=False)
    settings = {"limit": limit, "audio": asdict(audio), "mel": asdict(trained.shared.mel), "step": trained.step}
    (folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    (folder / TOKENIZER).write_text(trained.tokenizer.json() + "\n", "utf-8")
    (folder / "README.md").write_text(README, "utf-8")


def _signature(limit: int, channels: int) -> dict[str, keras.InputSpec]:
    return {
        "text_inputs": _of((None, None), "int32"),
        "text_lengths": _of((None,), "int32"),
        "audio_conditioning": _of((None, None, channels), "float32"),
        "audio_lengths": _of((None,), "int32"),
        "noise": _of((None, limit, channels), "float32"),
    }


def _of(shape: tuple[int | None, ...], dtype: str) -> keras.InputSpec:
    return keras.InputSpec(shape=shape, dtype=dtype)
