"""The whole model: text, a target mel and a reference recording in, the described mel out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace

import keras
from keras import ops

from xtts.layers.masks import valid_positions
from xtts.models.audio_encoder import AudioEncoder
from xtts.models.diffusion_decoder import DiffusionDecoder
from xtts.models.frame_decoder import TEXT_PROSODY_FEATURES, FrameDecoder
from xtts.models.global_style_token import GlobalStyleToken
from xtts.models.mel_decoder import MelDecoder
from xtts.models.parallel_decoder import ParallelDecoder
from xtts.models.prosody_predictor import ProsodyPredictor
from xtts.models.text_encoder import TextEncoder
from xtts.outputs import OUTPUT_OF_TARGET, TERMS
from xtts.presets import PRESETS, Architecture


@keras.saving.register_keras_serializable(package="xtts")
class XTTS(keras.Model):
    """Text-to-speech in the voice and the style of a reference recording.

    Args:
        architecture: the sizes, or the dict that `dataclasses.asdict` makes of them.
        seed: seed of the diffusion decoder's noise.

    Raises:
        ValueError: the decoder is parallel, and not aligned.
    """

    def __init__(self, architecture: Architecture | Mapping, seed: int = 0, name: str = "xtts", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        sizes = Architecture(**architecture) if isinstance(architecture, Mapping) else architecture
        if sizes.decoder == "parallel" and not sizes.aligned:
            raise ValueError("a parallel decoder has to be aligned: its frames are made of the tokens that they speak")
        self.architecture = sizes
        self.seed = seed
        self.text_encoder = TextEncoder(
            sizes.vocabulary_size,
            sizes.width,
            sizes.heads,
            sizes.text_depth,
            sizes.dropout,
            name="text_encoder",
            dtype=self.dtype_policy,
        )
        self.audio_encoder = AudioEncoder(
            sizes.reference_width,
            sizes.reference_depth,
            sizes.speaker_width,
            name="audio_encoder",
            dtype=self.dtype_policy,
        )
        self.global_style_token = GlobalStyleToken(
            sizes.reference_width,
            sizes.reference_depth,
            sizes.style_tokens,
            sizes.style_width,
            sizes.style_heads,
            name="global_style_token",
            dtype=self.dtype_policy,
        )
        self.prosody_predictor = ProsodyPredictor(sizes.width, name="prosody_predictor", dtype=self.dtype_policy)
        self.decoder = self._decoder(sizes)
        # One running mean for each term that a loss may have; which of them exist is known once a loss was computed.
        self.term_means = {term: keras.metrics.Mean(name=term) for term in TERMS}
        self._terms_of_last_loss: tuple[str, ...] = ()

    @classmethod
    def from_preset(cls, preset: str, seed: int = 0, dtype=None, **changes) -> XTTS:
        """Make a model of a preset's size, with any fields of `Architecture` changed."""
        if preset not in PRESETS:
            raise ValueError(f"there is no preset {preset!r}; the presets are {', '.join(PRESETS)}")
        return cls(replace(PRESETS[preset], **changes), seed=seed, dtype=dtype)

    def build(self, input_shape=None) -> None:
        """Create all variables; sizes come from the architecture, so the inputs' shape does not matter."""
        del input_shape
        sizes = self.architecture
        mel_shape = (None, None, sizes.mel_channels)
        encoding_shape = (None, None, sizes.width)
        self.text_encoder.build((None, None))
        self.audio_encoder.build(mel_shape)
        self.global_style_token.build(mel_shape)
        self.prosody_predictor.build(encoding_shape, (None, sizes.style_width))
        self.decoder.build(
            mel_shape,
            encoding_shape,
            (None, sizes.speaker_width + sizes.style_width),
            (None, None, TEXT_PROSODY_FEATURES),
        )

    def call(
        self,
        text_inputs,
        mel_inputs=None,
        audio_conditioning=None,
        text_lengths=None,
        mel_lengths=None,
        audio_lengths=None,
        durations=None,
        training=None,
    ):
        """Describe a target mel as its text, its own past and a reference recording let one expect it.

        Args:
            text_inputs: token ids `(batch, tokens)`, or a dict of all these arguments, which is what `fit` passes on.
            mel_inputs: the target mel `(batch, frames, mel_channels)`, not shifted: the decoder does that.
            audio_conditioning: the reference mel `(batch, reference_frames, mel_channels)`.
            text_lengths: number of real tokens `(batch,)`; all are real if left out, as with the other lengths.
            mel_lengths: number of real frames `(batch,)` of the target.
            audio_lengths: number of real frames `(batch,)` of the reference.
            durations: how many frames of the target each token is spoken for, `(batch, tokens)`; an aligned model
                needs them.
            training: whether dropout is applied.

        Returns:
            A dict, in float32, of

            * `mel_output`: `(batch, frames, mel_channels)`,
            * `stop_tokens`: `(batch, frames)`, logits of a frame being the last,
            * `duration_pred`: `(batch, tokens)`, log(1 + frames),
            * `pitch_output`, `energy_output`: `(batch, frames)`,
            * `prosody_pitch`, `prosody_energy`: `(batch, tokens)`,
            * `prosody_speaking_rate`: `(batch,)`, log(tokens a second),

            and with the diffusion decoder of `diffusion_pred`, `diffusion_target`: `(batch, frames, mel_channels)`.

        Raises:
            ValueError: the target, the reference mel, or the durations of an aligned model are missing.
        """
        if isinstance(text_inputs, Mapping):
            return self.call(**text_inputs, training=training)
        _require("mel_inputs", mel_inputs, "the target mel that the decoder is trained on")
        _require("audio_conditioning", audio_conditioning, "the reference mel whose voice and style are spoken in")
        if self.architecture.aligned:
            _require("durations", durations, "which tells which token each frame speaks")
        text_valid = valid_positions(text_lengths, text_inputs)
        frame_valid = valid_positions(mel_lengths, mel_inputs)
        reference_valid = valid_positions(audio_lengths, audio_conditioning)

        encoding, conditioning, predicted = self._read(
            text_inputs, audio_conditioning, text_valid, reference_valid, training
        )
        frames = self.decoder(
            mel_inputs,
            encoding,
            conditioning,
            _text_prosody(predicted),
            text_valid,
            frame_valid,
            durations,
            training=training,
        )
        outputs = {**frames, **predicted}
        return {name: ops.cast(output, "float32") for name, output in outputs.items()}

    def speak(
        self,
        text_inputs,
        audio_conditioning,
        limit,
        text_lengths=None,
        audio_lengths=None,
        pace=1.0,
        noise=None,
        steps=50,
    ):
        """Speak a text in the voice and the style of a reference recording.

        Frame by frame the stop token says which is the last; an aligned model hears it in the last token alone, and
        ends where its durations are over by a quarter. All frames at once (the other decoders), the durations say how
        many there are.

        Args:
            text_inputs, audio_conditioning, text_lengths, audio_lengths: as in `call`.
            limit: no more frames than so many, an integer.
            pace: how many times as fast as predicted.
            noise: what the diffusion decoder begins with, `(batch, limit, mel_channels)`.
            steps: how many steps it takes.

        Returns:
            A dict of `mel` `(batch, limit, mel_channels)`, `mel_lengths` `(batch,)`, 0 where the limit came before the
            end, and `durations` `(batch, tokens)`, in frames as predicted.
        """
        text_valid = valid_positions(text_lengths, text_inputs)
        reference_valid = valid_positions(audio_lengths, audio_conditioning)
        encoding, conditioning, predicted = self._read(
            text_inputs, audio_conditioning, text_valid, reference_valid, training=False
        )
        durations = _whole_frames(predicted["duration_pred"], pace, text_valid)
        heard = (encoding, conditioning, _text_prosody(predicted))
        if self.architecture.decoder == "autoregressive":
            last = _last_token(text_inputs, text_valid)
            may_stop, must_stop = self._ends(durations, last, limit)
            # The last token is spoken for as long as no stop token comes.
            mel, lengths = self.decoder.speak(*heard, may_stop, must_stop, text_valid, durations + last * limit)
        else:
            total = ops.sum(durations, axis=1)
            lengths = ops.where(total > limit, 0, total)
            frame_valid = ops.arange(limit, dtype="int32")[None, :] < total[:, None]
            if self.architecture.decoder == "parallel":
                mel = self.decoder.speak(*heard, frame_valid, text_valid, durations)
            else:
                mel = self.decoder.speak(*heard, noise, frame_valid, text_valid, durations, steps)
        return {"mel": mel, "mel_lengths": lengths, "durations": durations}

    def freeze_heads_without_target(self, targets: Collection[str]) -> None:
        """Stop training what serves only outputs that none of the targets is for; call it before `compile`.

        Args:
            targets: names of the targets that will be given, of `xtts.outputs.TARGETS`.
        """
        supervised = {OUTPUT_OF_TARGET[target] for target in targets}
        for outputs, layer in self._layers_by_outputs():
            if supervised.isdisjoint(outputs):
                layer.trainable = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the total that the criterion given to `compile(loss=...)` makes of targets and outputs."""
        del x, sample_weight, training
        terms = self.loss.terms(y, y_pred)
        for name, value in terms.items():
            self.term_means[name].update_state(value)
        self._terms_of_last_loss = tuple(terms)
        return self.loss.total(terms)

    def get_metrics_result(self) -> dict:
        """Return the running mean of the loss and of each term that it has."""
        absent = self.term_means.keys() - set(self._terms_of_last_loss)
        return {name: value for name, value in super().get_metrics_result().items() if name not in absent}

    def get_config(self) -> dict:
        return {**super().get_config(), "architecture": asdict(self.architecture), "seed": self.seed}

    def _read(self, text_inputs, audio_conditioning, text_valid, reference_valid, training):
        """Return the encoded text, the voice and style of the reference, and what is predicted of each token."""
        encoding, duration = self.text_encoder(text_inputs, text_valid, training=training)
        speaker = self.audio_encoder(audio_conditioning, reference_valid)
        style = self.global_style_token(audio_conditioning, reference_valid)
        pitch, energy, speaking_rate = self.prosody_predictor(encoding, style, text_valid)
        predicted = {
            "duration_pred": duration,
            "prosody_pitch": pitch,
            "prosody_energy": energy,
            "prosody_speaking_rate": speaking_rate,
        }
        return encoding, ops.concatenate([speaker, style], axis=-1), predicted

    def _ends(self, durations, last, limit):
        """Return on which frames speech may end by the stop token, and on which it has to: `(batch, limit)` booleans.

        Args:
            durations: frames of each token, `(batch, tokens)`.
            last: 1 for the last token of each text, 0 for the others, `(batch, tokens)`.
            limit: number of frames.
        """
        places = ops.arange(limit, dtype="int32")[None, :]
        total = ops.sum(durations, axis=1)
        if self.architecture.aligned:
            begin = total - ops.sum(durations * last, axis=1)
            return places >= begin[:, None], places >= (total + total // 4)[:, None]
        anywhere = ops.broadcast_to(places >= 0, (ops.shape(total)[0], limit))
        return anywhere, ops.logical_not(anywhere)

    def _decoder(self, sizes: Architecture) -> FrameDecoder:
        arguments = (sizes.width, sizes.heads, sizes.decoder_depth, sizes.mel_channels, sizes.dropout, sizes.aligned)
        if sizes.decoder == "diffusion":
            return DiffusionDecoder(*arguments, seed=self.seed, name="diffusion_decoder", dtype=self.dtype_policy)
        if sizes.decoder == "parallel":
            return ParallelDecoder(*arguments, name="parallel_decoder", dtype=self.dtype_policy)
        return MelDecoder(*arguments, name="mel_decoder", dtype=self.dtype_policy)

    def _layers_by_outputs(self):
        prosody = self.prosody_predictor
        return (
            (("duration_pred",), self.text_encoder.duration_predictor),
            (("prosody_pitch", "prosody_energy", "prosody_speaking_rate"), prosody),
            (("prosody_pitch",), prosody.pitch_predictor),
            (("prosody_energy",), prosody.energy_predictor),
            (("prosody_speaking_rate",), prosody.speaking_rate_predictor),
            (("pitch_output",), self.decoder.pitch_projection),
            (("energy_output",), self.decoder.energy_projection),
            (("stop_tokens",), self.decoder.stop_projection),
        )


def _require(name: str, value, meaning: str) -> None:
    if value is None:
        raise ValueError(f"XTTS was called without `{name}`, {meaning}; pass it to the model")


def _text_prosody(predicted: Mapping):
    """Return what is predicted of each token as `(batch, tokens, 4)`."""
    pitch = predicted["prosody_pitch"]
    speaking_rate = ops.broadcast_to(predicted["prosody_speaking_rate"][:, None], ops.shape(pitch))
    return ops.stack([predicted["duration_pred"], pitch, predicted["prosody_energy"], speaking_rate], axis=-1)


_MOST_FRAMES = 1e5
"""Of a token, whatever is predicted: their sum is to remain a number that an integer holds."""


def _whole_frames(log_duration, pace, text_valid):
    """Return how many frames each token takes, at least one where it is real: `(batch, tokens)` integers."""
    frames = ops.clip(ops.round(ops.expm1(ops.cast(log_duration, "float32")) / pace), 1.0, _MOST_FRAMES)
    frames = ops.cast(frames, "int32")
    return frames if text_valid is None else frames * ops.cast(text_valid, "int32")


def _last_token(text_inputs, text_valid):
    """Return 1 for the last real token of each text and 0 for the others, `(batch, tokens)`."""
    count = ops.shape(text_inputs)[1]
    places = ops.arange(count, dtype="int32")[None, :]
    lengths = count if text_valid is None else ops.sum(ops.cast(text_valid, "int32"), axis=1, keepdims=True)
    return ops.cast(ops.broadcast_to(places == lengths - 1, ops.shape(text_inputs)), "int32")
