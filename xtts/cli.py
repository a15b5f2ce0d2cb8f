"""The command `xtts`: parses, calls, prints, exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from xtts.data.cli import prepare_command
from xtts.printable import printable

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.toml"
EXIT_REFUSED = 2


@click.group()
def commands() -> None:
    """Prepare speech for the XTTS text-to-speech model, and train it."""


@commands.command("train")
@click.option(
    "--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG, help="TOML file; the packaged default if not."
)
@click.option("--scenario", metavar="NAME", help="Apply the changes of a scenario of the file.")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Replace a key of the file.")
@click.option("--steps", type=click.IntRange(min=1), help="Train for so many steps; the file's train.steps if not.")
def train_command(config: Path, scenario: str | None, overrides: tuple[str, ...], steps: int | None) -> None:
    """Train on generated batches, and print each step's loss with its terms."""
    # Of TensorFlow's log errors alone, so that the losses can be read; whoever has set a level gets it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras and its backend take seconds to import: not for --help.
    from xtts.subject import read_config
    from xtts.training.loop import train

    if steps is not None:
        overrides = (*overrides, f"train.steps={steps}")
    train(read_config(config, scenario, overrides), _print_step)


commands.add_command(prepare_command)


def main() -> None:
    """Run the command; what it refuses is one line on standard error and exit status 2."""
    from xtts.errors import ConfigError, DataError

    try:
        commands.main(standalone_mode=False)
    except click.ClickException as refusal:
        refusal.show()
        sys.exit(EXIT_REFUSED)
    except (ConfigError, DataError) as refusal:
        click.echo(f"xtts: {printable(str(refusal))}", err=True)
        sys.exit(EXIT_REFUSED)
    except click.Abort:
        click.echo("xtts: interrupted", err=True)
        sys.exit(EXIT_REFUSED)


def _print_step(step: int, losses: Mapping[str, float]) -> None:
    terms = (f"{name} {value:.4g}" for name, value in sorted(losses.items()) if name != "loss")
    click.echo(f"step {step}  loss {losses['loss']:.4f}  {'  '.join(terms)}")
