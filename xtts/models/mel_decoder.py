"""Speaks frame by frame: the autoregressive decoder, trained by teacher forcing."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.masks import causal_mask
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

    def call(self, mel, encoding, conditioning, text_prosody, text_valid=None, frame_valid=None, training=None):
        """Predict every frame of a target from the frames before it.

        Args:
            mel: the target, `(batch, frames, mel_channels)`; it is shifted by one frame here.
            encoding: the encoded text, `(batch, tokens, width)`.
            conditioning: speaker and style, `(batch, channels)`.
            text_prosody: log-duration, pitch, energy and speaking rate of each token, `(batch, tokens, 4)`.
            text_valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.
            frame_valid: taken for the diffusion decoder's sake, and not needed.

        Returns:
            A dict of `mel_output` `(batch, frames, mel_channels)` and `stop_tokens` (logits), `pitch_output`,
            `energy_output`, each `(batch, frames)`.
        """
        del frame_valid
        frames = self.prenet_1(self.prenet_dropout(self.prenet_0(_shift_by_one_frame(mel)), training=training))
        memory = self.read_text(encoding, text_prosody)
        frames = self.transform(frames, memory, conditioning, text_valid, causal_mask(mel), training)
        described, pitch, energy = self.describe_frames(frames)
        return {
            "mel_output": self.mel_projection(described),
            "stop_tokens": self.stop_logits(described),
            "pitch_output": pitch,
            "energy_output": energy,
        }


def _shift_by_one_frame(mel):
    return ops.pad(mel[:, :-1, :], ((0, 0), (1, 0), (0, 0)))
