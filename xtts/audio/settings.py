"""How sound is turned into features: the same numbers for a corpus, for training and for synthesis."""

from __future__ import annotations

from dataclasses import dataclass

from xtts.errors import DataError


@dataclass(frozen=True)
class AudioSettings:
    """Sample rate and frame grid, mel filters, and the range in which pitch is looked for.

    Attributes:
        sample_rate: samples a second.
        window: samples of a frame's window, and of its Fourier transform.
        hop: samples from one frame to the next.
        mel_channels: number of mel filters.
        lowest: lower edge of the lowest filter, in Hz.
        highest: upper edge of the highest filter, in Hz.
        pitch_floor: lowest pitch that is looked for, in Hz.
        pitch_ceiling: highest pitch that is looked for, in Hz.

    Raises:
        DataError: two of them contradict each other.
    """

    sample_rate: int = 22_050
    window: int = 1024
    hop: int = 256
    mel_channels: int = 80
    lowest: float = 0.0
    highest: float = 8_000.0
    pitch_floor: float = 65.0
    pitch_ceiling: float = 500.0

    def __post_init__(self) -> None:
        rules = (
            (self.hop > 0, "a hop has at least one sample"),
            (self.hop <= self.window, f"a hop of {self.hop} samples leaves gaps between windows of {self.window}"),
            (self.mel_channels > 0, "there is at least one mel filter"),
            (0 <= self.lowest < self.highest, f"mel filters from {self.lowest:g} to {self.highest:g} Hz are none"),
            (
                2 * self.highest <= self.sample_rate,
                f"{self.sample_rate} samples a second hold nothing above {self.sample_rate / 2:g} Hz, "
                f"and mel filters up to {self.highest:g} Hz are asked for",
            ),
            (
                0 < self.pitch_floor < self.pitch_ceiling < self.sample_rate / 2,
                f"no pitch lies between {self.pitch_floor:g} and {self.pitch_ceiling:g} Hz",
            ),
            (
                self.window * self.pitch_floor >= 2 * self.sample_rate,
                f"a window of {self.window} samples is shorter than two periods of {self.pitch_floor:g} Hz",
            ),
        )
        broken = [told for holds, told in rules if not holds]
        if broken:
            raise DataError(f"The audio settings do not fit together: {broken[0]}.")

    @property
    def frames_per_second(self) -> float:
        """Frames of a second of sound."""
        return self.sample_rate / self.hop
