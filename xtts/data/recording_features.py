"""A recording's features, computed once: kept on disk under a name that follows from its content and the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from xtts.audio.decoding import Sound, decode
from xtts.audio.features import FORMAT, features
from xtts.audio.settings import AudioSettings
from xtts.data.corpora.recordings import (
    CLIPPED,
    LOW_RATE,
    SILENT,
    TOO_LONG,
    TOO_SHORT,
    UNREADABLE,
    LeftOut,
    Recording,
)
from xtts.data.files import write_array
from xtts.errors import DataError

FEATURES = "features"
QUIETEST_PEAK = 10 ** (-50 / 20)
"""Of full scale. Below is nothing but the noise of the recording."""
FULL_SCALE = 0.999
MOST_CLIPPED = 1e-3
"""Share of samples at full scale; a loud recording has a few, one that was cut off has many."""
DIGITS_OF_NAME = 32


@dataclass(frozen=True)
class Limits:
    """Which recordings are used.

    Attributes:
        shortest: seconds.
        longest: seconds.
    """

    shortest: float
    longest: float


@dataclass(frozen=True)
class CachedFeatures:
    """Where a recording's features are.

    Attributes:
        recording: what they are of.
        path: below the corpus's folder.
        frames: their number.
    """

    recording: Recording
    path: str
    frames: int


def compute_features(
    recordings: Sequence[Recording], folder: Path, settings: AudioSettings, limits: Limits, jobs: int
) -> Iterator[CachedFeatures | LeftOut]:
    """Yield, in order, where each recording's features are or why it has none; those on disk are not computed again.

    Args:
        recordings: what to read.
        folder: of the prepared corpus.
        settings: how features are computed.
        limits: which recordings are used.
        jobs: number of processes; with one, all happens in this process.

    Raises:
        DataError: features cannot be written.
    """
    work = partial(_cached, folder=folder, settings=settings, limits=limits)
    if jobs == 1:
        yield from map(work, recordings)
        return
    # Started anew, not forked: a fork of a process that has threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(work, recordings)
        except BrokenProcessPool:
            raise DataError(
                f"One of {jobs} processes that compute features was ended from outside, mostly for want of memory. "
                "What was computed is kept: run the same command again, with fewer --jobs."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _cached(recording: Recording, folder: Path, settings: AudioSettings, limits: Limits) -> CachedFeatures | LeftOut:
    try:
        sound = decode(recording.audio)
        refusal = _refusal(sound, settings, limits)
        if refusal is not None:
            return LeftOut(recording.name, *refusal)
        path = f"{FEATURES}/{_name(recording.audio, settings)}.npy"
    except (DataError, OSError) as error:
        return LeftOut(recording.name, UNREADABLE, str(error))
    frames = _frames_on_disk(folder / path)
    if frames is None:
        table = features(sound.at_rate(settings.sample_rate), settings).table()
        write_array(folder / path, table)
        frames = len(table)
    return CachedFeatures(recording, path, frames)


def _refusal(sound: Sound, settings: AudioSettings, limits: Limits) -> tuple[str, str] | None:
    """Why a sound cannot be used, as a reason and a detail."""
    loudness = np.abs(sound.samples)
    clipped = float(np.mean(loudness >= FULL_SCALE))
    if loudness.max() < QUIETEST_PEAK:
        return SILENT, f"its loudest sample is {loudness.max():.5f} of full scale"
    if sound.seconds < max(limits.shortest, settings.window / settings.sample_rate):
        return TOO_SHORT, f"{sound.seconds:.2f} s"
    if sound.seconds > limits.longest:
        return TOO_LONG, f"{sound.seconds:.1f} s"
    if clipped > MOST_CLIPPED:
        return CLIPPED, f"{clipped:.1%} of its samples are at full scale"
    if sound.rate < 2 * settings.highest:
        return LOW_RATE, (
            f"{sound.rate} samples a second hold nothing above {sound.rate // 2} Hz, mel filters go up to "
            f"{settings.highest:g} Hz; to use it, give --highest {sound.rate // 2}"
        )
    return None


def _name(audio: Path, settings: AudioSettings) -> str:
    """A name by which the same content, under the same settings, is known again; in 256 folders."""
    how = json.dumps({"format": FORMAT, **asdict(settings)}, sort_keys=True)
    digest = sha256(audio.read_bytes() + how.encode()).hexdigest()[:DIGITS_OF_NAME]
    return f"{digest[:2]}/{digest[2:]}"


def _frames_on_disk(path: Path) -> int | None:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return None
