"""The command line: parse, call, print, exit. The only file that writes to the terminal.

The report goes to standard output and everything else to standard error, what the audited code prints included. Exit
status 0 means audited, 1 that the gate fails, and 2 that something could not be audited, whatever the reason.

Whatever answers at once (help, the version, a mistyped option) must not wait for TensorFlow, so imports that cost time
stand in the functions that need them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradaudit.errors import ConfigError, GradauditError, OutputError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, NOTHING, breaches, exit_status, failures, parse_fail_on
from gradaudit.graph.verdicts import STATUSES, Status, Verdict
from gradaudit.reports.inert import inert

if TYPE_CHECKING:
    from gradaudit.config import Plan
    from gradaudit.graph.report import Audit, Report

COULD_NOT_AUDIT = 2
DEBUG = "GRADAUDIT_DEBUG"
"""The environment variable that makes every error show its traceback."""

PIPED_WIDTH = 100
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PHASES = {
    "import": "importing",
    "build": "building the model",
    "trace": "tracing the step",
    "analyse": "analysing",
    "probe": "running real steps",
    "measure": "running real steps, with participation terms and without",
    "draw": "drawing",
}


class _Program(click.Group):
    """A group whose every failure is one message on standard error and exit status 2."""

    def main(  # type: ignore[override]  # click tells apart by overloads whether this returns
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; in standalone mode, end the process with its status."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.UsageError as error:
            status = _refuse(_usage(error))
        except click.ClickException as error:
            status = _refuse(error.format_message())
        except click.Abort:
            status = _refuse("Interrupted.")
        except Exception as error:  # noqa: BLE001  # a crash must not end with 1, which means that the gate fails
            status = _refuse(_explanation(error))
            _show_traceback(error)
        sys.exit(status)


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    from gradaudit.environment import own_version

    if wanted:
        click.echo(f"gradaudit {own_version()}")
        context.exit()


_A_FILE = click.Path(path_type=Path)


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.pass_context
def main(context: click.Context) -> int:
    """Tell, before training, which variables of a train step will never learn, and why."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return COULD_NOT_AUDIT
    return 0


def _of_every_audit(command: Callable[..., int]) -> Callable[..., int]:
    """Add what every command that audits takes: SUBJECT, --config, --scenario, --set, --format, --output."""
    for option in (
        click.option("--output", type=_A_FILE, metavar="FILE", help="Write the report there, not to standard output."),
        click.option(
            "--format",
            "form",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="Of the report.",
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
        click.option("--config", type=_A_FILE, metavar="FILE", help="The TOML file that says what to audit."),
        click.argument("subject", required=False),
    ):
        command = option(command)
    return command


@main.command()
@_of_every_audit
@click.option(
    "--report",
    "folder",
    type=_A_FILE,
    metavar="DIR",
    help="Write every format, the pictures and the matrix of variables and terms into DIR.",
)
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="STATUS[,STATUS...]",
    help=f"Exit with 1 if a variable has one of: {', '.join(STATUSES)}; or never: {NOTHING}.  "
    f"[default: the file's, or {','.join(DEFAULT_FAIL_ON)}]",
)
@click.option(
    "--verify/--no-verify", default=False, help="Ask TensorFlow's own tape too, and fail if it returns None elsewhere."
)
@click.option(
    "--probe",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=3,
    default=None,
    metavar="[STEPS]",
    help="Run real steps too, 3 if no number is given, and fail if a gradient is there that should not be.",
)
def trace(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    form: str,
    output: Path | None,
    folder: Path | None,
    fail_on: tuple[str, ...],
    verify: bool,
    probe: int | None,
) -> int:
    """Audit a train step without running it.

    SUBJECT is "package.module:callable" or "path/to/file.py:callable": a function that returns a gradaudit.Subject. It
    takes no argument, or one: the project's configuration as a dict.

    Without SUBJECT and --config, gradaudit.toml or [tool.gradaudit] in pyproject.toml is looked for upwards from here.

    The exit status is 0 when all was audited, 1 when the gate fails, and 2 when something could not be audited; what
    could be is reported all the same. GRADAUDIT_DEBUG=1 shows the traceback of every error.
    """
    from gradaudit.environment import quiet_tensorflow, require_tensorflow

    runs = _runs(subject, config, scenarios, overrides, fail_on)
    _require_writable(output, folder)
    require_tensorflow()
    quiet_tensorflow()
    with _standard_output_kept_clean(), _progress() as show:
        outcomes = [(run, _attempt(run, show, verify=verify, probe=probe or 0)) for run in runs]
        audited = [(run, audit) for run, audit in outcomes if audit is not None]
        report = _report([audit for _, audit in audited])
        pictures, mishap = _write_folder(report, folder, show, _pictures_written) if audited else ({}, None)
    if audited:
        from gradaudit.reports.terminal import render_text

        _deliver(report, form, output, partial(render_text, pictures=pictures))
    if mishap is not None:
        raise mishap
    status = max([_gate(run, audit) for run, audit in audited], default=COULD_NOT_AUDIT)
    return status if len(audited) == len(runs) else COULD_NOT_AUDIT


@main.command()
@_of_every_audit
@click.option(
    "--term",
    "terms",
    multiple=True,
    metavar="EXPR",
    help='Audit as if the step added this term too, such as "1e-6 * mean(square(pitch))": an expression over model '
    "outputs; repeatable.",
)
@click.option(
    "--suggest", is_flag=True, help="Look for the fewest model outputs that would cover the rest, and audit with them."
)
@click.option(
    "--probe",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Run so many real steps with the terms, and as many without, and measure what they do to the variables that "
    "they cover and to those that train.",
)
@click.option(
    "--report",
    "folder",
    type=_A_FILE,
    metavar="DIR",
    help="Write both formats into DIR, and with --probe a plot of what was measured in each audit.",
)
def cover(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    terms: tuple[str, ...],
    suggest: bool,
    probe: int | None,
    form: str,
    output: Path | None,
    folder: Path | None,
) -> int:
    """Tell which variables the participation terms cover, which they leave, and what they cost.

    A participation term is there only so that a gradient exists: one in a name scope of participation-scopes.

    SUBJECT and --config are as for trace. The exit status is 0 when every variable that no task term trains is covered,
    1 when one is not, and 2 when something could not be audited.
    """
    from gradaudit.environment import quiet_tensorflow, require_matplotlib, require_tensorflow
    from gradaudit.reports.cover import render_cover

    if terms and probe is not None:
        raise click.UsageError(
            "--term cannot be measured with --probe: a term that is given so is in no step that could run."
        )
    runs = _runs(subject, config, scenarios, overrides, ())
    _require_writable(output, folder)
    require_tensorflow()
    if folder is not None and probe is not None:
        require_matplotlib()
    quiet_tensorflow()
    with _standard_output_kept_clean(), _progress() as show:
        outcomes = [_attempt(run, show, terms=terms, suggest=suggest, measure=probe or 0) for run in runs]
        audits = [audit for audit in outcomes if audit is not None]
        report = _report(audits)
        plots, mishap = _write_folder(report, folder, show, _plots_written) if audits else ({}, None)
    if audits:
        _deliver(report, form, output, partial(render_cover, plots=plots))
    if mishap is not None:
        raise mishap
    if len(audits) < len(runs):
        return COULD_NOT_AUDIT
    return 1 if any(audit.coverage.uncovered for audit in audits) else 0


# ---------------------------------------------------------------------------------------------------- what is asked for


@dataclass(frozen=True)
class _Run:
    """One audit to make."""

    plan: Plan
    reference: str
    folder: Path
    fail_on: tuple[Status, ...]

    @property
    def name(self) -> str:
        return self.plan.scenario or self.reference


def _runs(
    subject: str | None,
    config: Path | None,
    scenarios: Sequence[str],
    overrides: Sequence[str],
    fail_on: Sequence[str],
) -> list[_Run]:
    """Read everything that is asked for, so that each mistake in it is told before the long work."""
    from gradaudit.config import ConfigFile, find_config
    from gradaudit.subject_lookup import check_reference

    path = config if config or subject else find_config(Path.cwd())
    if path is None and subject is None:
        raise ConfigError(
            "There is nothing to audit: no SUBJECT, no --config, and neither a gradaudit.toml nor a pyproject.toml "
            f"with [tool.gradaudit] in {Path.cwd()} or above it. Try: gradaudit trace path/to/file.py:callable"
        )
    file = ConfigFile(path)
    statuses = parse_fail_on([word.strip() for words in fail_on for word in words.split(",")], where="--fail-on")
    runs = []
    for scenario in dict.fromkeys(scenarios or file.scenarios) or [None]:
        plan = file.plan(scenario, overrides)
        # A path in the file is relative to the file, and one that is typed to where it is typed.
        folder = path.parent if path is not None and subject is None else Path.cwd()
        reference = subject or plan.subject
        if reference is None:
            raise ConfigError(file.without_subject)
        check_reference(reference, folder=folder)
        runs.append(_Run(plan, reference, folder, statuses if fail_on else plan.fail_on))
    return runs


def _require_writable(output: Path | None, folder: Path | None) -> None:
    from gradaudit.output import require_file, require_folder

    if output is not None:
        require_file(output)
    if folder is not None:
        require_folder(folder)


# ------------------------------------------------------------------------------------------------------------ the audit


def _attempt(run: _Run, show: Callable[[str, str], None], **options: Any) -> Audit | None:
    """Make one audit, or say why it cannot be made: the others go on."""
    show(run.name, "import")
    try:
        from gradaudit.auditing import audit
        from gradaudit.subject_lookup import audited_code_forgotten, lazy_subject

        with audited_code_forgotten():
            return audit(
                lazy_subject(run.reference, folder=run.folder, project=run.plan.project, changed=run.plan.changed),
                scenario=run.plan.scenario,
                participation_scopes=run.plan.participation_scopes,
                contracts=run.plan.contracts,
                **options,
                progress=lambda phase: show(run.name, phase),
            )
    except Exception as error:  # noqa: BLE001  # nor may one audit's crash take the others along
        _refuse(_prefix(run) + _explanation(error))
        _show_traceback(error)
    return None


def _report(audits: Sequence[Audit]) -> Report:
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report

    return Report(tool=tool(), environment=versions(), audits=tuple(audits))


def _gate(run: _Run, audit: Audit) -> int:
    """Say on which verdicts the run fails, if any; returns the exit status."""
    failed, broken = failures(audit, run.fail_on), breaches(audit, run.fail_on)
    if failed or broken:
        contracts = [f"{len(broken)} broken contract{'s' if len(broken) > 1 else ''}"] if broken else []
        _say(f"{_prefix(run)}The gate fails: {', '.join([*_counted(failed), *contracts])}.")
    return exit_status([*failed, *broken])


def _counted(verdicts: Sequence[Verdict]) -> list[str]:
    counts = Counter(verdict.status for verdict in verdicts)
    return [f"{counts[status]} {status}" for status in STATUSES if counts[status]]


def _prefix(run: _Run) -> str:
    return f"{run.plan.scenario}: " if run.plan.scenario else ""


# ------------------------------------------------------------------------------------------------------ what is written


def _write_folder(
    report: Report,
    folder: Path | None,
    show: Callable[[str, str], None],
    write: Callable[[Report, Path, Callable[[str, str], None]], dict[str, str]],
) -> tuple[dict[str, str], Exception | None]:
    """Write what `--report` asks for; returns the picture of each audit, and what went wrong.

    That is returned, not raised, so that the report reaches standard output before the command ends: an audit that took
    minutes must not be lost to a full disk.
    """
    if folder is None:
        return {}, None
    try:
        return write(report, folder, show), None
    except Exception as error:  # noqa: BLE001  # raised again by the caller, once the report is out
        return {}, error


def _pictures_written(report: Report, folder: Path, show: Callable[[str, str], None]) -> dict[str, str]:
    from gradaudit.output import file_names, write_file
    from gradaudit.reports.json_report import render_json
    from gradaudit.reports.matrix import render_matrix, render_scenarios
    from gradaudit.reports.page import render_page
    from gradaudit.reports.picture import draw, render_picture
    from gradaudit.reports.terminal import render_text
    from gradaudit.reports.wording import name

    names = [name(audit) for audit in report.audits]
    _, *stems = file_names(["scenarios", *names])
    write_file(folder / "report.json", render_json(report).encode())
    write_file(folder / "report.html", render_page(report).encode())
    if len(names) > 1:
        write_file(folder / "scenarios.csv", render_scenarios(report).encode())
    for audit, stem in zip(report.audits, stems, strict=True):
        show(name(audit), "draw")
        dot = draw(audit)
        write_file(folder / f"{stem}.dot", dot.encode())
        for ending in ("svg", "png"):
            write_file(folder / f"{stem}.{ending}", render_picture(dot, ending))
        write_file(folder / f"{stem}.csv", render_matrix(audit).encode())
    beside = {audit: f"{stem}.svg" for audit, stem in zip(names, stems, strict=True)}
    text = render_text(report, color=False, width=PIPED_WIDTH, pictures=beside)
    write_file(folder / "report.txt", text.encode())
    return {audit: str(folder / picture) for audit, picture in beside.items()}


def _plots_written(report: Report, folder: Path, show: Callable[[str, str], None]) -> dict[str, str]:
    from gradaudit.output import file_names, write_file
    from gradaudit.reports.cover import render_cover
    from gradaudit.reports.json_report import render_json
    from gradaudit.reports.wording import name, title

    beside = {}
    write_file(folder / "cover.json", render_json(report).encode())
    for audit, stem in zip(report.audits, file_names(map(name, report.audits)), strict=True):
        if audit.measured is not None:
            from gradaudit.reports.participation_plot import render_participation

            show(name(audit), "draw")
            beside[name(audit)] = f"{stem}-participation.png"
            write_file(folder / beside[name(audit)], render_participation(audit.measured, title(audit)))
    write_file(folder / "cover.txt", render_cover(report, color=False, width=PIPED_WIDTH, plots=beside).encode())
    return {audit: str(folder / plot) for audit, plot in beside.items()}


def _deliver(report: Report, form: str, output: Path | None, render: Callable[..., str]) -> None:
    """Write the report; `render` gives its text, as wide and colourful as what it is written to."""
    from gradaudit.output import write_file

    on_terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
    text = _rendered(report, form, render, on_terminal)
    if output is not None:
        write_file(output, text.encode())
    else:
        _print(text)


def _rendered(report: Report, form: str, render: Callable[..., str], on_terminal: bool) -> str:
    from gradaudit.reports.json_report import render_json

    if form == "json":
        return render_json(report)
    color = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if on_terminal else PIPED_WIDTH
    return render(report, color=color, width=width)


def _print(text: str) -> None:
    """Write to standard output; whoever reads it may have seen enough before the end."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed: name a file with --output.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding does not know is no reason to lose the report.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain of the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"The report cannot be written to standard output: {error.strerror}.") from None


# ----------------------------------------------------------------------------------------------- the terminal meanwhile


@contextlib.contextmanager
def _standard_output_kept_clean() -> Iterator[None]:
    """Send to standard error what the audited code prints: from Python, from C libraries and from child processes."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, AttributeError):  # one of the two is closed
            sys.stdout.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(_restore_standard_output, kept)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _restore_standard_output(kept: int) -> None:
    # What was printed past the redirection, to sys.__stdout__, must be out before the real one is back.
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    os.dup2(kept, 1)
    os.close(kept)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, str], None]]:
    """Yield what shows, on a terminal, which audit is in which phase."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _audit, _phase: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as status:
        yield lambda audit, phase: status.update(Text(f"{_printable(audit)}: {PHASES.get(phase, phase)}"))


# ------------------------------------------------------------------------------------------------------ what went wrong


def _usage(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx is not None else "gradaudit"
    return f"{error.format_message()} See: {command} --help"


def _explanation(error: Exception) -> str:
    """What a person is told of an error: its message where gradaudit raised it on purpose."""
    if isinstance(error, GradauditError):
        return str(error)
    from gradaudit.environment import own_version, versions

    where = traceback.extract_tb(error.__traceback__)[-1]
    software = ", ".join(f"{name} {version}" for name, version in {"gradaudit": own_version(), **versions()}.items())
    return (
        f"gradaudit failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})\n"
        "This is a defect of gradaudit. Please report it with what follows, and with the traceback "
        f"that {DEBUG}=1 shows.\n"
        f"arguments: {shlex.join(sys.argv[1:])}\n{software}, {sys.platform}"
    )


def _show_traceback(error: BaseException) -> None:
    if os.environ.get(DEBUG):
        _say("".join(traceback.format_exception(error)))


def _refuse(message: str) -> int:
    """Say why something could not be audited; returns the exit status."""
    _say(message)
    return COULD_NOT_AUDIT


def _say(message: str) -> None:
    """One message on standard error: its first line under the program's name, the others below it."""
    first, *others = _printable(message).strip().splitlines() or [""]
    with contextlib.suppress(OSError):  # nobody is left to be told
        click.echo("\n".join([f"gradaudit: {first}", *(f"    {line}" for line in others)]), err=True)


def _printable(text: str) -> str:
    """The text without what would move the cursor or recolour the terminal: messages hold names of the user's."""
    plain = _COLOUR.sub("", text).expandtabs(4)  # Keras colours some of its messages
    return "\n".join(inert(line) for line in plain.splitlines())
