"""The commands `xtts synthesize` and `xtts export`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from xtts.printable import printable


class _Number(click.FloatRange):
    """A range that also refuses what is no number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


_A_FILE = click.Path(path_type=Path)
_CHECKPOINT = click.option(
    "--checkpoint",
    type=_A_FILE,
    required=True,
    metavar="RUN",
    help="A run folder of `xtts train`, of which the best checkpoint is taken, or a checkpoint.",
)
_LONGEST = click.option(
    "--longest",
    type=_Number(min=0, max=600, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds after which speech that has not ended is an error.",
)


@click.command("synthesize")
@_CHECKPOINT
@click.option("--text", required=True, help="What to say.")
@click.option("--speaker", type=_A_FILE, required=True, metavar="FILE", help="A recording of the voice to say it in.")
@click.option("--language", metavar="CODE", default="en", show_default=True, help="Of the text: en, es, fr, …")
@click.option("-o", "--output", type=_A_FILE, required=True, metavar="FILE", help="A WAV file.")
@_LONGEST
@click.option("--pace", type=_Number(min=0.25, max=4), default=1.0, show_default=True, help="How many times as fast.")
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Of a diffusion decoder.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn.")
def synthesize_command(
    checkpoint: Path,
    text: str,
    speaker: Path,
    language: str,
    output: Path,
    longest: float,
    pace: float,
    steps: int,
    seed: int,
) -> None:
    """Say a text in the voice of a recording, with a trained model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from xtts.audio.decoding import decode
    from xtts.audio.encoding import require_writable, write_wav
    from xtts.synthesis.synthesizer import Manner
    from xtts.synthesis.trained import read_trained

    require_writable(output)
    reference = decode(speaker)
    synthesizer = read_trained(checkpoint).synthesizer()
    sound = synthesizer.speak(text, reference, language, Manner(longest, pace, steps, seed))
    write_wav(output, sound)
    click.echo(printable(f"{sound.seconds:.2f} s of speech written to {output}"), err=True)


@click.command("export")
@_CHECKPOINT
@click.option("-o", "--output", type=_A_FILE, required=True, metavar="DIR", help="A folder that is not there yet.")
@_LONGEST
def export_command(checkpoint: Path, output: Path, longest: float) -> None:
    """Write a trained model as a TensorFlow SavedModel, which speaks without this package.

    It takes token ids and a reference mel, and gives a mel; README.md in the folder says how.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from xtts.synthesis.exporting import export, require_new
    from xtts.synthesis.trained import read_trained

    require_new(output)
    export(read_trained(checkpoint), output, longest)
    click.echo(printable(f"written to {output}"), err=True)
