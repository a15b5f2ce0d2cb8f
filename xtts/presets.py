"""Named sizes of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Decoder = Literal["autoregressive", "parallel", "diffusion"]


@dataclass(frozen=True)
class Architecture:
    """All that decides which variables the model has.

    Attributes:
        vocabulary_size: number of token ids.
        mel_channels: channels of a mel spectrogram.
        width: channels of text encoding and frames, an even multiple of `heads`.
        heads: attention heads of text encoder and decoder.
        text_depth: transformer blocks of the text encoder.
        decoder_depth: transformer blocks of the decoder.
        reference_width: channels of the two reference encoders.
        reference_depth: convolution blocks of each reference encoder.
        speaker_width: channels of the speaker embedding.
        style_width: channels of the style embedding, a multiple of `style_heads`.
        style_tokens: number of style tokens.
        style_heads: attention heads over the style tokens.
        dropout: share of values dropped in training.
        aligned: whether each frame is given the token that it speaks; training then needs durations.
        decoder: frame by frame (`autoregressive`), all frames from their tokens (`parallel`, which has to be aligned),
            or all frames from noise (`diffusion`).
    """

    vocabulary_size: int
    mel_channels: int
    width: int
    heads: int
    text_depth: int
    decoder_depth: int
    reference_width: int
    reference_depth: int
    speaker_width: int
    style_width: int
    style_tokens: int
    style_heads: int
    dropout: float
    decoder: Decoder = "autoregressive"
    aligned: bool = False


PRESETS: dict[str, Architecture] = {
    "tiny": Architecture(
        vocabulary_size=32,
        mel_channels=16,
        width=32,
        heads=2,
        text_depth=1,
        decoder_depth=1,
        reference_width=16,
        reference_depth=1,
        speaker_width=16,
        style_width=16,
        style_tokens=4,
        style_heads=2,
        dropout=0.0,
    ),
    "small": Architecture(
        vocabulary_size=256,
        mel_channels=80,
        width=256,
        heads=4,
        text_depth=4,
        decoder_depth=6,
        reference_width=128,
        reference_depth=3,
        speaker_width=128,
        style_width=128,
        style_tokens=10,
        style_heads=4,
        dropout=0.1,
    ),
    "base": Architecture(
        vocabulary_size=256,
        mel_channels=80,
        width=640,
        heads=10,
        text_depth=5,
        decoder_depth=8,
        reference_width=256,
        reference_depth=3,
        speaker_width=256,
        style_width=256,
        style_tokens=10,
        style_heads=4,
        dropout=0.1,
    ),
    "large": Architecture(
        vocabulary_size=256,
        mel_channels=80,
        width=1024,
        heads=16,
        text_depth=10,
        decoder_depth=18,
        reference_width=512,
        reference_depth=4,
        speaker_width=512,
        style_width=256,
        style_tokens=16,
        style_heads=8,
        dropout=0.1,
    ),
}
