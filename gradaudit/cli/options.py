"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from gradaudit.gate.policy import DEFAULT_FAIL_ON, NOTHING
from gradaudit.graph.verdicts import STATUSES

A_FILE = click.Path(path_type=Path)


DASH = Path("-")
"""Standard output, where the name of a file is asked for."""


def of_every_verdict(command: Callable[..., int]) -> Callable[..., int]:
    """Add what every command that passes verdicts takes: --report, --fail-on, --verify."""
    for option in (
        click.option(
            "--baseline",
            type=A_FILE,
            metavar="FILE",
            help="Fail on nothing that this file knows, as `gradaudit baseline write` makes it.  [default: the "
            "file's, if any]",
        ),
        click.option(
            "--verify/--no-verify",
            default=False,
            help="Ask TensorFlow's own tape too, and fail if it returns None elsewhere.",
        ),
        click.option(
            "--fail-on",
            "fail_on",
            multiple=True,
            metavar="STATUS[,STATUS...]",
            help=f"Exit with 1 if a variable has one of: {', '.join(STATUSES)}; or never: {NOTHING}.  "
            f"[default: the file's, if there is one, or {','.join(DEFAULT_FAIL_ON)}]",
        ),
        click.option(
            "--report",
            "folder",
            type=A_FILE,
            metavar="DIR",
            help="Write every format, the HTML page, the pictures and the matrix of variables and terms into DIR.",
        ),
    ):
        command = option(command)
    return command


def of_every_audit(command: Callable[..., int]) -> Callable[..., int]:
    """Add what every command that audits takes: SUBJECT, --config, --scenario, --set, --jobs, --cache."""
    for option in (
        click.option(
            "--cache",
            type=A_FILE,
            metavar="DIR",
            help="Answer from DIR where all that the audit was made from is as it was, and keep new answers there. "
            "Reading them can run code: DIR has to be trusted as the project is.",
        ),
        click.option(
            "--jobs",
            "-j",
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Audit N scenarios at a time, each in a process of its own; the report is the same.  [default: 1]",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Replace a key of the file, such as data.batch_size=2; repeatable. VALUE is TOML, or a bare word.",
        ),
        click.option(
            "--scenario",
            "scenarios",
            multiple=True,
            metavar="NAME",
            help="One of the file's; repeatable.  [default: all]",
        ),
        click.option("--config", type=A_FILE, metavar="FILE", help="The TOML file that says what to audit."),
        click.argument("subject", required=False),
    ):
        command = option(command)
    return command


def of_every_report(*forms: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add --format and --output, for these formats."""

    def with_options(command: Callable[..., int]) -> Callable[..., int]:
        output = click.option(
            "--output",
            "outputs",
            type=A_FILE,
            multiple=True,
            metavar="FILE",
            help="Write the report there, not to standard output (-): in the --format before it.",
        )
        form = click.option(
            "--format",
            "forms",
            type=click.Choice(forms),
            multiple=True,
            help="Of the report; repeatable, each with an --output of its own but for one.  [default: text]",
        )
        return output(form(command))

    return with_options


class Reporting(click.Command):
    """A command that writes reports, and remembers which --output stands behind which --format."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Parse, and keep the order of the two options, which click gives in lists of their own."""
        _, _, order = self.make_parser(context).parse_args(args=list(arguments))
        context.meta[_ORDER] = [param.name for param in order if param.name in ("forms", "outputs")]
        return super().parse_args(context, arguments)


_ORDER = "gradaudit.order"


FORMATS = ("text", "json", "markdown", "sarif", "junit", "github")


def deliveries_of(forms: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """The formats that are asked for, each with the file that it goes to; None for standard output.

    A file is for the format before it, or, where none is left there, for the one behind it.
    """
    order = click.get_current_context().meta[_ORDER]
    left, files = iter(forms), iter(outputs)
    open_forms: list[str] = []
    open_files: list[Path] = []
    pairs: list[tuple[str, Path]] = []
    for name in order:
        if name == "forms":
            form = next(left)
            if open_files:
                pairs.append((form, open_files.pop(0)))
            else:
                open_forms.append(form)
        elif open_forms:
            pairs.append((open_forms.pop(), next(files)))
        else:
            open_files.append(next(files))
    if open_files and not forms:
        pairs.append(("text", open_files.pop(0)))
    if open_files:
        raise click.UsageError(f"--output {open_files[0]} has no --format of its own: write one before it.")
    for path in outputs:
        if sum(path == other for other in outputs) > 1:
            raise click.UsageError(f"--output {path} is named twice: give each --format its own file.")
    shown = [*(form for form, path in pairs if file_or_none(path) is None), *open_forms]
    if len(shown) > 1:
        raise click.UsageError(
            f"--format {' and '.join(shown)} would go to standard output together: give all but one an --output."
        )
    pairs += [(form, DASH) for form in open_forms or ([] if pairs else ["text"])]
    return [(form, file_or_none(path)) for form, path in pairs]


def file_or_none(path: Path) -> Path | None:
    """The file that an --output names; None for standard output."""
    return None if path == DASH else path


def require_writable(outputs: Sequence[Path], folder: Path | None) -> None:
    """Refuse, before the long work, places that cannot be written to."""
    from gradaudit.output import require_file, require_folder

    for output in filter(file_or_none, outputs):
        require_file(output)
    if folder is not None:
        require_folder(folder)
