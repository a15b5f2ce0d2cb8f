"""Speaks all frames at once, each from the token that it speaks: the parallel decoder."""

from __future__ import annotations

import math

import keras
from keras import ops

from xtts.layers.durations import places_in_tokens, spread_over_frames
from xtts.layers.masks import key_mask
from xtts.layers.reference_encoder import ConvolutionBlock
from xtts.models.frame_decoder import FrameDecoder

CONVOLUTIONS = 2
"""Blocks over tokens, and as many over frames."""
PLACE_FEATURES = 3


@keras.saving.register_keras_serializable(package="xtts")
class ParallelDecoder(FrameDecoder):
    """Transformer blocks over frames that begin as the tokens which they speak, and see no other mel.

    It hears nothing of the target in training, and so makes no more errors in speaking than there. What many ways to
    say a text have in common is what it says, which sounds flat; it is understood long before the other decoders are.
    Convolutions over tokens, and then over frames, tell what stands beside; attention takes thousands of steps to.

    Source: Ren et al. 2019, "FastSpeech", and 2021, "FastSpeech 2"; the place of a frame in its token after Shen et al.
    2020, "Non-Attentive Tacotron".
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.token_blocks = self._convolutions("token_block")
        self.place_projection = self._dense(self.width, "place_projection")
        self.frame_blocks = self._convolutions("frame_block")
        self.mel_projection = self._dense(self.mel_channels, "mel_projection")

    def build(self, mel_shape, encoding_shape, conditioning_shape, text_prosody_shape) -> None:
        super().build(mel_shape, encoding_shape, conditioning_shape, text_prosody_shape)
        frames_shape = (*mel_shape[:-1], self.width)
        for block in self.token_blocks:
            block.build(encoding_shape)
        self.place_projection.build((*mel_shape[:-1], PLACE_FEATURES))
        for block in self.frame_blocks:
            block.build(frames_shape)
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
        """Predict every frame from its token.

        Args:
            mel: the target, `(batch, frames, mel_channels)`, of which the number of frames alone is read.
            encoding: the encoded text, `(batch, tokens, width)`.
            conditioning: speaker and style, `(batch, channels)`.
            text_prosody: log-duration, pitch, energy and speaking rate of each token, `(batch, tokens, 4)`.
            text_valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.
            frame_valid: `(batch, frames)` booleans, true where a frame is real, or `None` for all.
            durations: `(batch, tokens)`, in frames.

        Returns:
            A dict of `mel_output` `(batch, frames, mel_channels)` and `stop_tokens` (logits), `pitch_output`,
            `energy_output`, each `(batch, frames)`.
        """
        heard = (encoding, conditioning, text_prosody, text_valid, frame_valid, durations)
        return self._describe(ops.shape(mel)[1], *heard, training)

    def speak(self, encoding, conditioning, text_prosody, frame_valid, text_valid=None, durations=None):
        """Make all frames at once.

        Args:
            encoding, conditioning, text_prosody, text_valid, durations: as in `call`.
            frame_valid: as in `call`, for as many frames as are to be made.

        Returns:
            The mel `(batch, frames, mel_channels)`.
        """
        heard = (encoding, conditioning, text_prosody, text_valid, frame_valid, durations)
        return ops.cast(self._describe(frame_valid.shape[1], *heard, training=False)["mel_output"], "float32")

    def _describe(
        self, frames, encoding, conditioning, text_prosody, text_valid, frame_valid, durations, training
    ) -> dict:
        memory = self.read_text(encoding, text_prosody)
        for block in self.token_blocks:
            memory = block(memory, text_valid)
        places = ops.cast(_place_features(durations, frames), self.compute_dtype)
        frames = self.place_projection(places) + spread_over_frames(memory, durations, frames)
        for block in self.frame_blocks:
            frames = block(frames, frame_valid)
        frames = self.transform(frames, memory, conditioning, durations, text_valid, key_mask(frame_valid), training)
        described, pitch, energy = self.describe_frames(frames)
        return {
            "mel_output": self.mel_projection(described),
            "stop_tokens": self.stop_logits(described),
            "pitch_output": pitch,
            "energy_output": energy,
        }

    def _convolutions(self, name: str) -> list[ConvolutionBlock]:
        return [
            ConvolutionBlock(self.width, name=f"{name}_{index}", dtype=self.dtype_policy)
            for index in range(CONVOLUTIONS)
        ]


def _place_features(durations, frames):
    """Where in its token a frame is: the share of the token that is over, and both ends told apart smoothly."""
    over = places_in_tokens(durations, frames)[..., None]
    return ops.concatenate([over, ops.sin(math.pi * over), ops.cos(math.pi * over)], axis=-1)
