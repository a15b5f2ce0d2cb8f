"""The command `xtts evaluate`: parses, calls, shows how far it is, prints the table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xtts.printable import printable

if TYPE_CHECKING:
    from xtts.evaluation.evaluating import Evaluation

_A_FILE = click.Path(path_type=Path)


@click.command("evaluate")
@click.option("--checkpoint", type=_A_FILE, required=True, metavar="RUN", help="A run folder, or a checkpoint.")
@click.option("--corpus", type=_A_FILE, metavar="DIR", help="A prepared corpus.  [default: the one of the training]")
@click.option("--clips", type=click.IntRange(min=1), help="Of those held out, the first so many.  [default: all]")
@click.option("--output", type=_A_FILE, metavar="FILE", help="Write what was measured there too, as JSON.")
@click.option("--other-voices", type=_A_FILE, metavar="DIR", help="A prepared corpus with voices to tell from.")
@click.option("--sounds", type=_A_FILE, metavar="DIR", help="Keep what was measured there, with its spectrograms.")
def evaluate_command(
    checkpoint: Path,
    corpus: Path | None,
    clips: int | None,
    output: Path | None,
    other_voices: Path | None,
    sounds: Path | None,
) -> None:
    """Speak the held-out texts of a corpus, and measure how good that is.

    Each measure stands beside the same of the recordings themselves, and of their mels through the same vocoder: what
    cannot be surpassed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from rich.console import Console
    from rich.progress import Progress

    from xtts.data.files import make_folder, write_text
    from xtts.evaluation.evaluating import evaluate
    from xtts.evaluation.keeping import Keeper
    from xtts.synthesis.trained import read_trained

    if output is not None:
        make_folder(output.parent)
    trained = read_trained(checkpoint)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("evaluating", total=None)
        evaluation = evaluate(
            trained,
            corpus or Path(str(trained.config.data.corpus)),
            clips,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            other_voices=other_voices,
            keeper=Keeper(sounds, trained.shared.audio) if sounds is not None else None,
        )
    if output is not None:
        write_text(output, json.dumps(evaluation.table(), indent=2) + "\n")
    _print_table(evaluation)


def _print_table(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("", no_wrap=True), "clips", "mel distance", "pitch error", "CER", "own voice", "nearest other")
    for row in evaluation.measures:
        table.add_row(
            row.kind,
            str(row.clips),
            f"{row.mel:.3f} Np",
            _or_dash(row.pitch, "{:.0f} cents"),
            _or_dash(row.cer, "{:.1%}"),
            _or_dash(row.own_voice, "{:.3f}"),
            _or_dash(row.other_voice, "{:.3f}"),
        )
    Console().print(table)
    if evaluation.unspoken:
        click.echo(printable(f"not said, or not brought to an end: {', '.join(evaluation.unspoken)}"))


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
