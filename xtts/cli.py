"""The command `xtts`: parses, calls, prints, exits."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xtts.data.cli import prepare_command
from xtts.evaluation.cli import evaluate_command
from xtts.printable import printable
from xtts.synthesis.cli import export_command, synthesize_command

if TYPE_CHECKING:
    from xtts.subject import Training
    from xtts.training.loop import Outcome
    from xtts.training.run_folder import RunFolder

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.toml"
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_OF_SIGNAL = 128
_A_FILE = click.Path(path_type=Path)


@click.group()
def commands() -> None:
    """Prepare speech for the XTTS text-to-speech model, and train it."""


@commands.command("train")
@click.option("--config", type=_A_FILE, help="TOML file; if not, that of the resumed run, or the packaged default.")
@click.option("--scenario", metavar="NAME", help="Apply the changes of a scenario of the file.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Replace a key of the file.")
@click.option("--steps", type=click.IntRange(min=1), help="Train for so many steps; the file's train.steps if not.")
@click.option(
    "--output", type=_A_FILE, metavar="RUN", help="Folder for checkpoints, logs and pictures; nothing is kept if not."
)
@click.option("--resume", is_flag=True, help="Go on with the training in RUN, after its last checkpoint.")
@click.option("--no-audit", is_flag=True, help="Start without an audit of the train step, or whatever it says.")
@click.option("--overfit-batch", is_flag=True, help="Train on the first batch alone, which a sound model soon knows.")
@click.option("--dry-run", is_flag=True, help="Audit, train one step, validate and save, and throw it all away.")
def train_command(
    config: Path | None,
    scenario: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
    output: Path | None,
    resume: bool,
    no_audit: bool,
    overfit_batch: bool,
    dry_run: bool,
) -> int:
    """Train, and print each step's loss with its terms.

    Before the first step, that step is audited; where variables in it would never learn, training does not start.

    The exit status is 0 when training came to its end, 1 when the audit or a value that is not finite stopped it, 2
    when something given is wrong, and 130 or 143 when Ctrl-C or a termination ended it, with all saved.
    """
    if resume and output is None:
        raise click.UsageError("--resume needs the run folder: --output RUN.")
    if dry_run and output is not None:
        raise click.UsageError("--dry-run keeps nothing: leave out --output.")
    # Of TensorFlow's log errors alone, so that the losses can be read; whoever has set a level gets it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras and its backend take seconds to import: not for --help.
    from xtts.subject import read_training
    from xtts.training.run_folder import config_of

    if config is None:
        config = config_of(output) if resume and output is not None else DEFAULT_CONFIG
    if steps is not None:
        overrides = (*overrides, f"train.steps={steps}")
    if dry_run:
        overrides = (*overrides, "train.save_every=1")
    training = read_training(config, scenario, overrides)
    with _folder(training, output, resume, dry_run) as folder:
        outcome = _train(training, folder, no_audit, overfit_batch, dry_run)
    if dry_run:
        _say("that was a dry run: what it saved is thrown away")
    if outcome.signal is None:
        return 0
    _say(_farewell(outcome, output))
    return EXIT_OF_SIGNAL + outcome.signal


for command in (prepare_command, synthesize_command, evaluate_command, export_command):
    commands.add_command(command)


def main() -> None:
    """Run the command; what it refuses is one message on standard error and exit status 2."""
    from xtts.errors import AuditFailure, NotFiniteError, XttsError

    try:
        status = commands.main(standalone_mode=False)
    except click.ClickException as refusal:
        refusal.show()
        status = EXIT_REFUSED
    except XttsError as refusal:
        _say(str(refusal))
        status = EXIT_REFUSED
    except AuditFailure as failure:
        click.echo(str(failure), err=True)
        _say("the audit fails, and no step was run. To train all the same, add --no-audit.")
        status = EXIT_FAILED
    except NotFiniteError as failure:
        _say(str(failure))
        status = EXIT_FAILED
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        status = EXIT_OF_SIGNAL + 2
    sys.exit(status)


@contextmanager
def _folder(training: Training, output: Path | None, resume: bool, dry_run: bool) -> Iterator[RunFolder | None]:
    from xtts.training.run_folder import open_run

    if dry_run:
        with (
            tempfile.TemporaryDirectory() as passing,
            open_run(Path(passing), training.config, training.audited_as, resume=False) as folder,
        ):
            yield folder
    elif output is None:
        yield None
    else:
        from xtts.training.cluster import cluster

        with open_run(output, training.config, training.audited_as, resume, cluster().is_chief) as folder:
            yield folder


def _train(training: Training, folder: RunFolder | None, no_audit: bool, overfit: bool, dry_run: bool) -> Outcome:
    from xtts.subject import require_trained
    from xtts.training.cluster import VARIABLE, cluster
    from xtts.training.devices import require_device
    from xtts.training.loop import train

    together = cluster()
    if together.workers > 1:
        _say(f"worker {together.index} waits for the {together.workers - 1} others that {VARIABLE} names")
    require_device(training.config)
    if not no_audit:
        _say(require_trained(training))
    with _steps_shown(training.config.train.steps, folder) as (report, say):
        return train(training.config, report, folder, say, overfit, limit=1 if dry_run else None)


def _farewell(outcome: Outcome, output: Path | None) -> str:
    if output is None:
        return f"stopped after step {outcome.step}; nothing is kept without --output"
    return f"stopped after step {outcome.step}, which is saved. Go on with: xtts train --output {output} --resume"


@contextmanager
def _steps_shown(
    steps: int, folder: RunFolder | None
) -> Iterator[tuple[Callable[[int, Mapping[str, float]], None], Callable[[str], None]]]:
    """Yield what shows a step, and what says something between steps.

    A training with a folder, which logs each step there, shows a bar on a terminal; any other prints a line for each.
    """
    if folder is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _print_step, _say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=steps, rate="", losses="")

        def show(step: int, losses: Mapping[str, float]) -> None:
            if progress.tasks[0].completed == 0 and step > 1:
                progress.reset(task, total=steps, completed=step - 1)  # resumed: what was done before has no rate
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, completed=step, rate=f"{speed or 0.0:.1f} steps/s", losses=_losses(losses))
            if "val_loss" in losses:
                progress.console.print(Text(_line(step, losses)))

        yield show, lambda message: progress.console.print(Text(printable(f"xtts: {message}")))


def _print_step(step: int, losses: Mapping[str, float]) -> None:
    click.echo(_line(step, losses))


def _line(step: int, losses: Mapping[str, float]) -> str:
    return f"step {step}  {_losses(losses)}"


def _losses(losses: Mapping[str, float]) -> str:
    terms = (f"{name} {value:.4g}" for name, value in sorted(losses.items()) if name != "loss")
    return f"loss {losses['loss']:.4f}  {'  '.join(terms)}"


def _say(message: str) -> None:
    click.echo(printable(f"xtts: {message}"), err=True)
