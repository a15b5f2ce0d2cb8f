"""Speaks frame by frame: the autoregressive decoder, trained by teacher forcing."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.masks import causal_mask, key_mask
from xtts.layers.positions import add_positions
from xtts.models.frame_decoder import FrameDecoder


@keras.saving.register_keras_serializable(package="xtts")
class MelDecoder(FrameDecoder):
    """A causal transformer over mel frames that attends to the text.

    Each frame is predicted from the frames before it, so frame t of the result depends on the target's frames up to
    t - 1 alone. Padding comes after the last frame: causality hides it, and no further mask is needed.

    Source: Li et al. 2019, "Neural Speech Synthesis with Transformer Network", the pre-net included.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.prenet_0 = self._dense(self.width, "prenet_0", "gelu")
        self.prenet_1 = self._dense(self.width, "prenet_1")
        self.prenet_dropout = keras.layers.Dropout(self.dropout, name="prenet_dropout", dtype=self.dtype_policy)
        self.mel_projection = self._dense(self.mel_channels, "mel_projection")

    def build(self, mel_shape, encoding_shape, conditioning_shape, text_prosody_shape) -> None:
        super().build(mel_shape, encoding_shape, conditioning_shape, text_prosody_shape)
        frames_shape = (*mel_shape[:-1], self.width)
        self.prenet_0.build(mel_shape)
        self.prenet_1.build(frames_shape)
        self.mel_projection.build(frames_shape)

    def call(
        self,
        mel,
        encoding,
        conditioning,
        text_prosody,
        text_valid=None,
        frame_valid=None,
        durations=None,
        training=None,
    ):
        """Predict every frame of a target from the frames before it.

        Args:
            mel: the target, `(batch, frames, mel_channels)`; it is shifted by one frame here.
            encoding: the encoded text, `(batch, tokens, width)`.
            conditioning: speaker and style, `(batch, channels)`.
            text_prosody: log-duration, pitch, energy and speaking rate of each token, `(batch, tokens, 4)`.
            text_valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.
            frame_valid: taken for the diffusion decoder's sake, and not needed.
            durations: `(batch, tokens)`, in frames, of an aligned decoder.

        Returns:
            A dict of `mel_output` `(batch, frames, mel_channels)` and `stop_tokens` (logits), `pitch_output`,
            `energy_output`, each `(batch, frames)`.
        """
        del frame_valid
        frames = self._prenet(_shift_by_one_frame(mel), training)
        memory = self.read_text(encoding, text_prosody)
        frames = self.transform(frames, memory, conditioning, durations, text_valid, causal_mask(mel), training)
        described, pitch, energy = self.describe_frames(frames)
        return {
            "mel_output": self.mel_projection(described),
            "stop_tokens": self.stop_logits(described),
            "pitch_output": pitch,
            "energy_output": energy,
        }

    def speak(self, encoding, conditioning, text_prosody, may_stop, must_stop, text_valid=None, durations=None):
        """Speak frame by frame, each from what was spoken before it, until the stop token says that it was the last.

        What was computed for a frame is kept, so that a step costs no more than one frame, and attention to the others.

        Args:
            encoding, conditioning, text_prosody, text_valid, durations: as in `call`.
            may_stop: `(batch, limit)` booleans, true where a frame may be the last; no more frames than `limit`.
            must_stop: the same, true where a frame is the last whatever the stop token says.

        Returns:
            The mel `(batch, limit, mel_channels)`, and how many of its frames were spoken `(batch,)`: 0 where no stop
            token came.
        """
        batch, limit = ops.shape(encoding)[0], may_stop.shape[1]
        memory = self.read_text(encoding, text_prosody)
        recalled = [block.cross_attention.read(memory) for block in self.blocks]
        beside = self.beside_frames(memory, conditioning, durations, limit)
        beside = ops.broadcast_to(beside, (batch, limit, self.width))
        places = ops.arange(limit, dtype="int32")

        def goes_on(position, mel, lengths, past):
            return ops.logical_and(position < limit, ops.any(lengths == 0))

        def add_frame(position, mel, lengths, past):
            before = ops.slice(mel, (0, ops.maximum(position - 1, 0), 0), (batch, 1, self.mel_channels))
            before = before * ops.cast(position > 0, before.dtype)
            frame = add_positions(self._prenet(before, False), position)
            frame = frame + ops.slice(beside, (0, position, 0), (batch, 1, self.width))
            kept = []
            for block, own, text in zip(self.blocks, past, recalled, strict=True):
                frame, own = block.step(
                    frame, position, own, text, (places <= position)[None, None, None, :], key_mask(text_valid)
                )
                kept.append(own)
            described, _, _ = self.describe_frames(frame)
            mel = ops.slice_update(mel, (0, position, 0), ops.cast(self.mel_projection(described), mel.dtype))
            may, must = (ops.slice(when, (0, position), (batch, 1))[:, 0] for when in (may_stop, must_stop))
            stops = ops.logical_or(must, ops.logical_and(may, self.stop_logits(described)[:, 0] > 0))
            lengths = ops.where(ops.logical_and(stops, lengths == 0), position + 1, lengths)
            return position + 1, mel, lengths, tuple(kept)

        nothing = ops.zeros((batch, limit, self.heads, self.width // self.heads), self.compute_dtype)
        _, mel, lengths, _ = ops.while_loop(
            goes_on,
            add_frame,
            (
                ops.zeros((), "int32"),
                ops.zeros((batch, limit, self.mel_channels), "float32"),
                ops.zeros((batch,), "int32"),
                tuple((nothing, nothing) for _ in self.blocks),
            ),
        )
        return mel, lengths

    def _prenet(self, frames, training):
        return self.prenet_1(self.prenet_dropout(self.prenet_0(frames), training=training))


def _shift_by_one_frame(mel):
    return ops.pad(mel[:, :-1, :], ((0, 0), (1, 0), (0, 0)))
