"""Synthetic speech with known boundaries, and corpora of it, laid out as the real ones are."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
VOWELS = {"a": (800, 1300), "e": (450, 2000), "i": (300, 2400), "o": (500, 900), "u": (320, 700)}
HISSES = {"s": (5000, 900), "f": (3500, 2500), "t": (4200, 600), "k": (1900, 500)}
PITCHES = (110.0, 170.0, 210.0)
SILENCE = 0.15
"""Seconds before and after the speech."""


def words(random: np.random.Generator, count: int) -> str:
    """Words of hisses and vowels in turn."""
    return " ".join(
        "".join(random.choice(list(HISSES)) + random.choice(list(VOWELS)) for _ in range(random.integers(1, 4)))
        for _ in range(count)
    )


def say(text: str, seed: int = 0, pitch: float = PITCHES[0], rate: int = RATE) -> tuple[np.ndarray, np.ndarray]:
    """Speak: a vowel is a buzz through two formants, a hiss noise about a frequency, a space a pause.

    Returns:
        Samples, and the seconds at which the letters begin and the last one ends.
    """
    random = np.random.default_rng(seed)
    sounds = [_silence(SILENCE, rate, random)]
    for letter in text:
        seconds = random.uniform(0.06, 0.6 if letter == " " else 0.22)
        if letter in VOWELS:
            sounds.append(_vowel(VOWELS[letter], seconds, pitch * random.uniform(0.95, 1.05), rate))
        elif letter in HISSES:
            sounds.append(_hiss(*HISSES[letter], seconds, rate, random))
        else:
            sounds.append(_silence(seconds, rate, random))
    sounds.append(_silence(SILENCE, rate, random))
    bounds = np.cumsum([len(sound) for sound in sounds])[:-1] / rate
    return np.concatenate(sounds).astype(np.float32), bounds


def _vowel(formants: Sequence[float], seconds: float, pitch: float, rate: int) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    harmonics = pitch * np.arange(1, int(0.45 * rate / pitch))
    loudness = sum(np.exp(-(((harmonics - formant) / 250) ** 2)) for formant in formants) + 0.02
    sound = (loudness[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(axis=0)
    return 0.3 * sound / np.abs(sound).max() * _ramp(len(time))


def _hiss(centre: float, width: float, seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    length = int(seconds * rate)
    spectrum = np.fft.rfft(random.normal(size=length))
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    sound = np.fft.irfft(spectrum * np.exp(-(((frequencies - centre) / width) ** 2)), length)
    return 0.1 * sound / np.abs(sound).max() * _ramp(length)


def _silence(seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    return 1e-4 * random.normal(size=int(seconds * rate))


def _ramp(length: int) -> np.ndarray:
    edge = min(length // 4, 80)
    return np.concatenate([np.linspace(0, 1, edge), np.ones(length - 2 * edge), np.linspace(1, 0, edge)])


def sentences(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [words(random, int(random.integers(1, 6))) for _ in range(count)]


def write_sound(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


def write_ljspeech(folder: Path, texts: Sequence[str]) -> Path:
    """LJSpeech: no header, three columns, no quoting."""
    lines = []
    for number, text in enumerate(texts):
        identity = f"LJ001-{number:04}"
        write_sound(folder / "wavs" / f"{identity}.wav", say(text, seed=number)[0])
        lines.append(f"{identity}|{text.upper()}|{text}\n")
    (folder / "metadata.csv").write_text("".join(lines), "utf-8")
    return folder


def write_vctk(folder: Path, texts: Sequence[str]) -> Path:
    """VCTK 0.92: two microphones in FLAC, a text file for each utterance."""
    for number, text in enumerate(texts):
        speaker = f"p{225 + number % 2}"
        name = f"{speaker}_{number + 1:03}"
        samples, _ = say(text, seed=number, pitch=PITCHES[number % 2])
        for microphone in ("mic1", "mic2"):
            write_sound(folder / "wav48_silence_trimmed" / speaker / f"{name}_{microphone}.flac", samples)
        transcript = folder / "txt" / speaker / f"{name}.txt"
        transcript.parent.mkdir(parents=True, exist_ok=True)
        transcript.write_text(f"{text}\n", "utf-8")
    (folder / "speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n", "utf-8")
    return folder


def write_common_voice(folder: Path, texts: Sequence[str], locale: str = "es") -> Path:
    """Common Voice: a table with a header, quotes that mean nothing, MP3."""
    rows = []
    for number, text in enumerate(texts):
        name = f"common_voice_{locale}_{1000 + number}.mp3"
        write_sound(folder / "clips" / name, say(text, seed=number)[0])
        rows.append((f"{number % 2}" * 128, name, f'"{text}', "2", "0", "", "", "", locale, ""))
    columns = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"
    lines = "".join("\t".join(row) + "\n" for row in rows)
    (folder / "validated.tsv").write_text(columns + lines, "utf-8")
    return folder


def write_pipe(folder: Path, texts: Sequence[str], header: bool = True) -> Path:
    """The pipe format: with a header as coqui has it, or without."""
    lines = ["audio_file|text|speaker_name\n"] if header else []
    for number, text in enumerate(texts):
        write_sound(folder / "wavs" / f"clip{number}.wav", say(text, seed=number, pitch=PITCHES[number % 3])[0])
        lines.append(f"wavs/clip{number}.wav|{text}|voice{number % 3}\n")
    (folder / "metadata.csv").write_text("".join(lines), "utf-8")
    return folder


def write_asterisk(root: Path, texts: Sequence[str], voice: str = "en_US_f_Allison") -> Path:
    """Debian's packages: a voice below share/asterisk/sounds, its transcripts below share/doc, a link to the voice."""
    language = voice[:2]
    lines = [f"; Core Asterisk Sounds in {language}\n", "\n"]
    for number, text in enumerate(texts):
        write_sound(root / "share/asterisk/sounds" / voice / "digits" / f"{number}.wav", say(text, seed=number)[0])
        lines.append(f"digits/{number}: {text}\n")
    package = root / "share/doc" / f"asterisk-core-sounds-{language}"
    package.mkdir(parents=True, exist_ok=True)
    (package / f"core-sounds-{language}.txt.gz").write_bytes(gzip.compress("".join(lines).encode()))
    (root / "share/asterisk/sounds" / language).symlink_to(voice)
    return root / "share/asterisk/sounds"
