"""The command `xtts prepare`: parses, calls, shows how far it is, prints what was made and what was left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xtts.printable import printable

if TYPE_CHECKING:
    from xtts.data.corpora.recordings import LeftOut
    from xtts.data.preparing import Outcome
    from xtts.data.preparing import Progress as Report

KINDS = ("auto", "ljspeech", "vctk", "common-voice", "pipe", "asterisk")
HIGHEST = 8_000.0


@click.command("prepare")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder of the prepared corpus.")
@click.option("--kind", type=click.Choice(KINDS), default="auto", show_default=True, help="Of the sources.")
@click.option("--language", metavar="CODE", help="Of all texts, where the corpus does not say: en, es, fr, …")
@click.option("--sample-rate", type=click.IntRange(min=1), default=22_050, show_default=True, help="Samples a second.")
@click.option("--window", type=click.IntRange(min=1), default=1024, show_default=True, help="Samples of a frame.")
@click.option("--hop", type=click.IntRange(min=1), default=256, show_default=True, help="Samples between frames.")
@click.option("--mels", type=click.IntRange(min=1), default=80, show_default=True, help="Channels of the mels.")
@click.option("--highest", type=float, help="Hz that the mels go up to.  [default: 8000, or half the sample rate]")
@click.option("--shortest", type=click.FloatRange(min=0), default=0.5, show_default=True, help="Seconds of a clip.")
@click.option("--longest", type=click.FloatRange(min=0), default=20.0, show_default=True, help="Seconds of a clip.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of clips that is kept from training.",
)
@click.option(
    "--tokens",
    type=click.Choice(["characters", "bpe"]),
    default="characters",
    show_default=True,
    help="What the tokenizer makes of a text.",
)
@click.option("--vocabulary", type=click.IntRange(min=2), default=512, show_default=True, help="Tokens, with bpe.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="Use this tokenizer.json; train none.")
@click.option(
    "--alignment-steps", type=click.IntRange(min=1), default=1_000, show_default=True, help="To train the aligner for."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the aligner.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each processor]")
def prepare_command(
    sources: tuple[Path, ...],
    sample_rate: int,
    window: int,
    hop: int,
    mels: int,
    highest: float | None,
    shortest: float,
    longest: float,
    tokens: str,
    vocabulary: int,
    jobs: int | None,
    **same: object,
) -> None:
    """Prepare corpora for training: decode, compute features, normalise texts, align, and write one manifest.

    What is interrupted goes on from there when it is started again. Recordings that cannot be used are left out; which
    and why is listed in left_out.jsonl of the output.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # SciPy and librosa take seconds to import: not for --help.
    from xtts.audio.settings import AudioSettings
    from xtts.data.preparing import Request, prepare
    from xtts.data.recording_features import Limits

    request = Request(
        sources=sources,
        audio=AudioSettings(
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            mel_channels=mels,
            highest=min(HIGHEST, sample_rate / 2) if highest is None else highest,
        ),
        limits=Limits(shortest, longest),
        pieces=tokens,  # type: ignore[arg-type] # one of the choices
        vocabulary_size=vocabulary,
        jobs=jobs or _processors(),
        **same,  # type: ignore[arg-type] # options of the same names
    )
    with _shown_progress() as report:
        outcome = prepare(request, report)
    _print_outcome(outcome)


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _shown_progress() -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, object] = {}

        def report(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=total)
            progress.update(tasks[task], completed=done)  # type: ignore[arg-type] # an id of rich

        yield report


def _print_outcome(outcome: Outcome) -> None:
    corpus = outcome.corpus
    console = Console()
    if outcome.left_out:
        console.print(_left_out_table(outcome.left_out))
    for held_out, name in ((False, "training"), (True, "held out")):
        clips = corpus.part(held_out)
        minutes = sum(clip.frames for clip in clips) / corpus.shared.audio.frames_per_second / 60
        click.echo(
            f"{name}: {len(clips)} clips, {minutes:.1f} minutes, {len({clip.speaker for clip in clips})} speakers"
        )
    click.echo(f"{corpus.tokenizer.vocabulary_size} tokens, languages {', '.join(corpus.shared.languages)}")
    click.echo(printable(f"written to {corpus.folder}"))


def _left_out_table(left_out: Iterable[LeftOut]) -> Table:
    rows = tuple(left_out)
    table = Table("left out", "why", "the first of them")
    for reason, count in Counter(row.reason for row in rows).most_common():
        first = next(row for row in rows if row.reason == reason)
        table.add_row(str(count), reason, Text(printable(f"{first.name}: {first.detail}")))
    return table
