"""Any recording that FFmpeg knows, as mono samples at one rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from xtts.errors import DataError


@dataclass(frozen=True)
class Sound:
    """Mono samples.

    Attributes:
        samples: float32, full scale is 1.
        rate: samples a second.
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate

    def at_rate(self, rate: int) -> Sound:
        """The same sound with so many samples a second."""
        return Sound(soxr.resample(self.samples, self.rate, rate).astype(np.float32, copy=False), rate)


def decode(path: Path) -> Sound:
    """Read a recording at its own rate; several channels become their mean.

    Raises:
        DataError: it is missing, no sound, or broken.
    """
    import av  # FFmpeg's libraries, which a training reads nothing with: its features are prepared

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise DataError(f"{path} holds no sound")
            rate = container.streams.audio[0].rate
            # One row for each channel. FFmpeg's own mixing to mono makes equal channels louder than they are.
            as_floats = av.AudioResampler(format="fltp")
            decoded = (frame for whole in container.decode(audio=0) for frame in as_floats.resample(whole))
            blocks = [frame.to_ndarray().mean(axis=0) for frame in decoded]
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be decoded: {getattr(error, 'strerror', None) or error}") from None
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise DataError(f"{path} holds not a single sample")
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are no numbers")
    return Sound(samples, rate)
