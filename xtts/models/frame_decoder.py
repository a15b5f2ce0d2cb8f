"""What all decoders share: reading the text with its prosody, and the heads that describe each frame."""

from __future__ import annotations

import keras
from keras import ops

from xtts.layers.blocks import DecoderBlock, normalisation
from xtts.layers.durations import spread_over_frames
from xtts.layers.masks import key_mask
from xtts.layers.positions import add_positions

TEXT_PROSODY_FEATURES = 4
FRAME_PROSODY_FEATURES = 2


class FrameDecoder(keras.layers.Layer):
    """Transformer blocks from text to frames, conditioned on the voice and on predicted prosody.

    Prosody is predicted by other heads from their own targets. The decoder reads those predictions through
    `stop_gradient`: a head learns to predict pitch, not to carry whatever lowers the mel's loss. Without a target a
    head therefore learns nothing, while the layers here that read it do.

    Args:
        width: channels of the frames and of the text encoding.
        heads: attention heads.
        depth: transformer blocks.
        mel_channels: channels of the mel spectrogram.
        dropout: share of values dropped in training.
        aligned: whether each frame is given what the token has that it speaks, besides attending to all of them; then
            durations are needed.

    Source of reading predicted prosody back: Ren et al. 2021, "FastSpeech 2" (variance adaptor), with the detached
    predictors of Kim et al. 2021, "VITS".
    """

    def __init__(
        self,
        width: int,
        heads: int,
        depth: int,
        mel_channels: int,
        dropout: float = 0.0,
        aligned: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.depth = depth
        self.mel_channels = mel_channels
        self.dropout = dropout
        self.aligned = aligned
        self.text_prosody_projection = self._dense(width, "text_prosody_projection")
        self.conditioning_projection = self._dense(width, "conditioning_projection")
        self.blocks = [
            DecoderBlock(width, heads, dropout, name=f"block_{index}", dtype=self.dtype_policy)
            for index in range(depth)
        ]
        self.pitch_projection = self._dense(1, "pitch_projection")
        self.energy_projection = self._dense(1, "energy_projection")
        self.frame_prosody_projection = self._dense(width, "frame_prosody_projection")
        self.final_norm = normalisation(self, "final_norm")
        self.stop_projection = self._dense(1, "stop_projection")

    def build(self, mel_shape, encoding_shape, conditioning_shape, text_prosody_shape) -> None:
        frames_shape = (*mel_shape[:-1], self.width)
        self.text_prosody_projection.build(text_prosody_shape)
        self.conditioning_projection.build(conditioning_shape)
        for block in self.blocks:
            block.build(frames_shape, encoding_shape)
        self.pitch_projection.build(frames_shape)
        self.energy_projection.build(frames_shape)
        self.frame_prosody_projection.build((*mel_shape[:-1], FRAME_PROSODY_FEATURES))
        self.final_norm.build(frames_shape)
        self.stop_projection.build(frames_shape)

    def read_text(self, encoding, text_prosody):
        """Return what the frames attend to: the text encoding with the predicted prosody of each token added."""
        return encoding + self.text_prosody_projection(ops.stop_gradient(text_prosody))

    def transform(self, frames, memory, conditioning, durations, text_valid, visible, training):
        """Run the blocks over `(batch, frames, width)`, after adding positions, the voice and the tokens spoken."""
        frames = add_positions(frames) + self.beside_frames(memory, conditioning, durations, ops.shape(frames)[1])
        for block in self.blocks:
            frames = block(frames, memory, visible, key_mask(text_valid), training=training)
        return frames

    def beside_frames(self, memory, conditioning, durations, frames):
        """Return what is added to each frame, whatever stands in it: the voice, and the token that it speaks.

        Returns:
            `(batch, frames, width)`, or `(batch, 1, width)` where that is the same for all.
        """
        voice = self.conditioning_projection(conditioning)[:, None, :]
        return voice + spread_over_frames(memory, durations, frames) if self.aligned else voice

    def describe_frames(self, frames):
        """Normalise the frames, predict each one's pitch and energy, and add both to it.

        Without the norm before them the two heads would read sums of all blocks, and their errors drown the mel's.

        Returns:
            The frames `(batch, frames, width)`, their pitch and their energy `(batch, frames)`.
        """
        frames = self.final_norm(frames)
        pitch = self.pitch_projection(frames)
        energy = self.energy_projection(frames)
        frame_prosody = ops.stop_gradient(ops.concatenate([pitch, energy], axis=-1))
        described = frames + self.frame_prosody_projection(frame_prosody)
        return described, ops.squeeze(pitch, axis=-1), ops.squeeze(energy, axis=-1)

    def stop_logits(self, described):
        """Return the logit `(batch, frames)` of each frame being the last."""
        return ops.squeeze(self.stop_projection(described), axis=-1)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.width,
            "heads": self.heads,
            "depth": self.depth,
            "mel_channels": self.mel_channels,
            "dropout": self.dropout,
            "aligned": self.aligned,
        }

    def _dense(self, units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        return keras.layers.Dense(units, activation, name=name, dtype=self.dtype_policy)
