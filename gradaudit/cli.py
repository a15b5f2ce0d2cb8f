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
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from gradaudit.errors import ConfigError, GradauditError, MeasureError, OutputError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, NOTHING, exit_status, failures, parse_fail_on
from gradaudit.graph.verdicts import STATUSES, Finding
from gradaudit.reports.inert import inert, without_commands

if TYPE_CHECKING:
    from gradaudit.config import Plan
    from gradaudit.gate.baseline import Baseline
    from gradaudit.gating import Gate
    from gradaudit.graph.report import Audit, Report
    from gradaudit.reports.graph_report import GraphRequest

COULD_NOT_AUDIT = 2
DEBUG = "GRADAUDIT_DEBUG"
"""The environment variable that makes every error show its traceback."""

PIPED_WIDTH = 100
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PHASES = {
    "script": "running it up to its first train step",
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
    if wanted:
        from gradaudit.environment import own_version

        click.echo(f"gradaudit {own_version()}")
        context.exit()


_A_FILE = click.Path(path_type=Path)
_DASH = Path("-")
"""Standard output, where the name of a file is asked for."""


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.pass_context
def main(context: click.Context) -> int:
    """Tell, before training, which variables of a train step will never learn, and why."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return COULD_NOT_AUDIT
    return 0


def _of_every_verdict(command: Callable[..., int]) -> Callable[..., int]:
    """Add what every command that passes verdicts takes: --report, --fail-on, --verify."""
    for option in (
        click.option(
            "--baseline",
            type=_A_FILE,
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
            type=_A_FILE,
            metavar="DIR",
            help="Write every format, the HTML page, the pictures and the matrix of variables and terms into DIR.",
        ),
    ):
        command = option(command)
    return command


def _of_every_audit(command: Callable[..., int]) -> Callable[..., int]:
    """Add what every command that audits takes: SUBJECT, --config, --scenario, --set."""
    for option in (
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


def _of_every_report(*forms: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add --format and --output, for these formats."""

    def with_options(command: Callable[..., int]) -> Callable[..., int]:
        output = click.option(
            "--output",
            "outputs",
            type=_A_FILE,
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


class _Reporting(click.Command):
    """A command that writes reports, and remembers which --output stands behind which --format."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Parse, and keep the order of the two options, which click gives in lists of their own."""
        _, _, order = self.make_parser(context).parse_args(args=list(arguments))
        context.meta[_ORDER] = [param.name for param in order if param.name in ("forms", "outputs")]
        return super().parse_args(context, arguments)


_ORDER = "gradaudit.order"
_FORMATS = ("text", "json", "markdown", "sarif", "junit", "github")


@main.command(cls=_Reporting)
@_of_every_report(*_FORMATS)
@_of_every_audit
@_of_every_verdict
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
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
    fail_on: tuple[str, ...],
    baseline: Path | None,
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
    runs = _runs(subject, config, scenarios, overrides, fail_on, baseline)
    if probe is not None:
        _require_subjects(runs, "--probe runs real steps")
    return _trace(runs, forms, outputs, folder, verify=verify, probe=probe or 0)


def _trace(
    runs: Sequence[_Run], forms: Sequence[str], outputs: Sequence[Path], folder: Path | None, **options: Any
) -> int:
    """Audit, write what is asked for, and hold the gate against it; returns the exit status."""
    deliveries = _deliveries(forms, outputs)
    _require_writable(outputs, folder)

    def finish(audited: Sequence[tuple[_Run, Audit]], terminal: _Terminal) -> int:
        report = _report([audit for _, audit in audited])
        pictures, mishap = _write_folder(report, folder, terminal.show, _pictures_written) if audited else ({}, None)
        terminal.release()
        if audited:
            _deliver(report, deliveries, partial(_text_of, pictures=pictures))
        if mishap is not None:
            raise mishap
        status = max([_gate(run, audit) for run, audit in audited], default=COULD_NOT_AUDIT)
        return status if len(audited) == len(runs) else COULD_NOT_AUDIT

    return _audit(runs, finish, **options)


@main.command(cls=_Reporting, context_settings={"allow_interspersed_args": False})
@_of_every_report(*_FORMATS)
@_of_every_verdict
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def run(
    script: str,
    arguments: tuple[str, ...],
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    verify: bool,
) -> int:
    """Audit the first train step of a training script, which needs no change and no configuration.

    SCRIPT is run as `python SCRIPT ARGS...` runs it, up to the first step that trains: fit or train_on_batch of Keras,
    or a function or loop that differentiates. That step is audited, and the process ends before it is executed.
    Options of gradaudit stand before SCRIPT; all that follows is the script's. SCRIPT may also be a module, such as
    package.train, that `python -m` would run.

    The exit status is 0 when the step was audited, 1 when the gate fails, and 2 when no step was reached or it could
    not be audited.
    """
    from gradaudit.config import ConfigFile
    from gradaudit.gating import gate_of

    words = [word.strip() for words in fail_on for word in words.split(",")]
    statuses = parse_fail_on(words, where="--fail-on") if words else DEFAULT_FAIL_ON
    plan = replace(ConfigFile(None).plan(), script=script, arguments=arguments)
    gate = gate_of(plan, statuses, baseline)
    audited = _Run(plan, script, Path(), gate, script=_found_script(script, Path()))
    return _trace([audited], forms, outputs, folder, verify=verify)


@main.command(cls=_Reporting)
@_of_every_report("text", "json")
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
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
) -> int:
    """Tell which variables the participation terms cover, which they leave, and what they cost.

    A participation term is there only so that a gradient exists: one in a name scope of participation-scopes.

    SUBJECT and --config are as for trace. The exit status is 0 when every variable that nothing else gives a gradient
    is covered, or may be disconnected by contract; 1 when one is not; and 2 when something could not be audited. Other
    contracts, and the gate, are trace's.
    """
    from gradaudit.environment import require_matplotlib, require_tensorflow
    from gradaudit.reports import wording
    from gradaudit.reports.cover import render_cover

    if terms and probe is not None:
        raise click.UsageError(
            "--term cannot be measured with --probe: a term that is given so is in no step that could run."
        )
    runs = _runs(subject, config, scenarios, overrides, ())
    if terms or suggest or probe is not None:
        _require_subjects(runs, "--term, --suggest and --probe trace the step again")
    deliveries = _deliveries(forms, outputs)
    _require_writable(outputs, folder)
    if folder is not None and probe is not None:
        require_tensorflow()
        require_matplotlib()

    def finish(audited: Sequence[tuple[_Run, Audit]], terminal: _Terminal) -> int:
        audits = [audit for _, audit in audited]
        report = _report(audits)
        plots, mishap = _write_folder(report, folder, terminal.show, _plots_written) if audits else ({}, None)
        terminal.release()
        if audits:
            _deliver(report, deliveries, partial(render_cover, plots=plots))
        if mishap is not None:
            raise mishap
        if len(audits) < len(runs) or any(audit.measurement_failed for audit in audits):
            return COULD_NOT_AUDIT
        return 1 if any(wording.left_uncovered(audit) for audit in audits) else 0

    return _audit(runs, finish, terms=terms, suggest=suggest, measure=probe or 0)


@main.command("rules")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_rules(form: str) -> int:
    """List the rules: what each says, and how severe it is by default."""
    from gradaudit.reports.manual import render_rules, render_rules_json
    from gradaudit.rules.catalogue import RULES

    rows = [{"code": rule.code, "title": rule.title, "severity": rule.severity} for rule in RULES]
    _print(render_rules_json(rows) if form == "json" else _fitted(render_rules, rows, on_terminal=_is_terminal()))
    return 0


@main.command()
@click.argument("rule")
def explain(rule: str) -> int:
    """Show the page of a RULE, such as GA102.

    What it finds and why that matters, an example that is bad and one that is good, how to fix it, and its limits.
    """
    from gradaudit.reports.manual import render_page
    from gradaudit.rules.page import named, page_of

    _print(_fitted(render_page, page_of(named(rule)), on_terminal=_is_terminal()))
    return 0


@main.group()
def baseline() -> None:
    """Keep what is found now, so that a run fails on new findings alone."""


@baseline.command("write")
@_of_every_audit
@click.option(
    "--output",
    type=_A_FILE,
    metavar="FILE",
    help="Where to.  [default: the config's baseline, or gradaudit-baseline.json beside it]",
)
def write_baseline(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    output: Path | None,
) -> int:
    """Write all that a run fails on now into the baseline file.

    SUBJECT and --config are as for trace. Of a file that exists, what it knows of other scenarios stays.
    """
    from gradaudit.gate.baseline import BASELINE_NAME, baseline_of

    runs = _runs(subject, config, scenarios, overrides, (), reads_baseline=False)
    path = output or runs[0].plan.baseline or runs[0].folder / BASELINE_NAME
    _require_writable([path], None)
    before = _baseline_before(path)

    def finish(audited: Sequence[tuple[_Run, Audit]], terminal: _Terminal) -> int:
        terminal.release()
        if len(audited) < len(runs):
            _say("The baseline is not written, because not all could be audited.")
            return COULD_NOT_AUDIT
        found = baseline_of([audit for _, audit in audited])
        is_whole = all(run.gate.is_whole for run in runs)
        names = [run.plan.scenario or "" for run in runs]
        whole = found if before is None or is_whole else found.with_others(before, names)
        _put(whole.render().encode(), _file(path))
        _say(f"{len(found.entries)} entries written to {'standard output' if path == _DASH else path}.")
        return 0

    return _audit(runs, finish)


def _baseline_before(path: Path) -> Baseline | None:
    """What a baseline file holds that is to be written anew; None of one that cannot be read."""
    from gradaudit.gate.baseline import read_baseline

    if not path.is_file():
        return None
    try:
        return read_baseline(path)
    except ConfigError as error:
        _say(f"{error} What it held is lost.")
        return None


@main.command()
@click.argument("old", type=_A_FILE)
@click.argument("new", type=_A_FILE)
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.option(
    "--output", type=_A_FILE, default=_DASH, metavar="FILE", help="Write it there, not to standard output (-)."
)
def diff(old: Path, new: Path, form: str, output: Path) -> int:
    """Tell what two JSON reports differ in: OLD, and NEW.

    Findings that are new, that are fixed, variables whose status or cause changed, and audits that only one of them
    has. The exit status is 0 when NEW has no error that OLD has not, 1 when it has one or lacks an audit of OLD's, and
    2 when a file is no report.
    """
    from gradaudit.graph.difference import difference
    from gradaudit.reports.difference import render_difference, render_difference_markdown
    from gradaudit.reports.json_report import read_json

    _require_writable([output], None)
    try:
        found = difference(read_json(old), read_json(new))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{old} or {new} is damaged, or of another version (no {error}): write it anew.") from None
    if form == "markdown":
        text = render_difference_markdown(found)
    else:
        text = _fitted(render_difference, found, on_terminal=output == _DASH and _is_terminal())
    if output == _DASH:
        _print(text)
    else:
        _put(text.encode(), output)
    return 1 if found.fails else 0


_DRAWINGS = ("dot", "svg", "png", "pdf")
_GRAPH_FORMATS = (*_DRAWINGS, "graphml", "json")


@main.command()
@_of_every_audit
@click.option(
    "--level",
    type=click.Choice(["layer", "op"]),
    help="Layers, or the ops on the ways to what does not learn.  [default: layer; op with --focus or --around]",
)
@click.option(
    "--focus",
    metavar="VARIABLE",
    help="The ops on the way from the loss to a variable, where it ends, and what is next to it: a path, or the end of "
    "one; * is anything.",
)
@click.option(
    "--around", metavar="LAYER", help="The ops in a layer and next to it: a path, or the end of one; * is anything."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_GRAPH_FORMATS),
    help="graphml and json hold the whole graph, op by op, for other tools.  [default: what FILE ends in, or dot]",
)
@click.option(
    "--output",
    type=_A_FILE,
    default=_DASH,
    metavar="FILE|DIR",
    help="Write it there, not to standard output (-); into a folder, with a file for each scenario.",
)
def graph(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    level: Literal["layer", "op"] | None,
    focus: str | None,
    around: str | None,
    form: str | None,
    output: Path,
) -> int:
    """Draw the gradient graph of a train step, or write it for other tools.

    What a drawing of ops leaves out it says, in the drawing and on standard error.

    SUBJECT and --config are as for trace. The exit status is 0 when all is drawn, whatever the verdicts are, and 2 when
    something is not.
    """
    from gradaudit.reports.graph_report import GraphRequest

    written_as = form or _form_of(_file(output))
    _require_consistent(written_as, level, focus, around)
    runs = _runs(subject, config, scenarios, overrides, ())
    files = _graph_files(runs, _file(output), written_as)
    chosen = level or ("layer" if focus is None and around is None else "op")
    request = GraphRequest(written_as, chosen, focus, around)

    def finish(audited: Sequence[tuple[_Run, Audit]], terminal: _Terminal) -> int:
        contents = {run.name: _graph_of(run, audit, request, terminal.show) for run, audit in audited}
        terminal.release()
        drawn = [(file, content) for run, file in zip(runs, files, strict=True) if (content := contents.get(run.name))]
        for file, content in drawn:
            _put(content, file)
        return 0 if len(drawn) == len(runs) else COULD_NOT_AUDIT

    return _audit(runs, finish)


def _form_of(output: Path | None) -> str:
    """The format that the name of a file asks for."""
    ending = "" if output is None or output.is_dir() else output.suffix.removeprefix(".").lower()
    if ending and ending not in _GRAPH_FORMATS:
        raise click.UsageError(
            f"{output} ends in none of {', '.join(_GRAPH_FORMATS)}: name another file, or say --format."
        )
    return ending or "dot"


def _require_consistent(form: str, level: str | None, focus: str | None, around: str | None) -> None:
    if focus is not None and around is not None:
        raise click.UsageError("--focus and --around are two drawings: give one of them.")
    if level == "layer" and (focus is not None or around is not None):
        raise click.UsageError("--focus and --around draw ops: leave --level out, or say --level op.")
    if form not in _DRAWINGS and (level is not None or focus is not None or around is not None):
        raise click.UsageError(
            f"--format {form} holds the whole graph: --level, --focus and --around are for {', '.join(_DRAWINGS)}."
        )


def _graph_files(runs: Sequence[_Run], output: Path | None, form: str) -> list[Path | None]:
    """Where to write the graph of each run; None is standard output."""
    from gradaudit.output import file_names, require_file, require_folder

    is_folder = output is not None and (output.is_dir() or len(runs) > 1 and not output.suffix)
    if len(runs) > 1 and not is_folder:
        names = ", ".join(run.name for run in runs)
        raise click.UsageError(
            f"One file holds one graph, and there are {len(runs)} scenarios: {names}. "
            "Name one with --scenario, or a folder with --output."
        )
    if output is None:
        if form in ("png", "pdf") and sys.stdout is not None and sys.stdout.isatty():
            raise click.UsageError(f"A terminal cannot show {form}: name a file with --output, or write to a pipe.")
        return [None]
    if is_folder:
        require_folder(output)
        return [output / f"{stem}.{form}" for stem in file_names([run.name for run in runs])]
    require_file(output)
    return [output]


def _graph_of(run: _Run, audit: Audit, request: GraphRequest, show: Callable[[str, str], None]) -> bytes | None:
    """Draw, or say why that cannot be: the others go on."""
    from gradaudit.reports.graph_report import render_graph

    show(run.name, "draw")
    try:
        file = render_graph(audit, request)
    except Exception as error:  # noqa: BLE001  # nor may one drawing's crash take the others along
        _refuse(_prefix(run) + _explanation(error))
        _show_traceback(error)
        return None
    for clause in file.left_out:
        _say(f"{_prefix(run)}… {clause}")
    return file.content


def _put(content: bytes, file: Path | None) -> None:
    from gradaudit.output import write_file

    if file is None:
        _print_bytes(content)
    else:
        write_file(file, content)


@main.command()
@click.argument("folder", type=_A_FILE, default=Path())
def init(folder: Path) -> int:
    """Write a first gradaudit.toml, and a subject where it needs one, for the Keras project in FOLDER.

    Where something trains when it is run, a script or a function without arguments, the file names that, and what is
    audited is the first step that your own code reaches. Else it is a model that a function returns, with a batch made
    up from its inputs, or a subject that you fill in.

    Nothing is imported or run, and nothing overwritten. What is found is told, what is left out, and what to do next.
    The exit status is 0 when the files are written, and 2 when not.
    """
    from gradaudit.first_files import write_first_files

    made = write_first_files(folder)
    for heading, lines in (("Found:", made.found), ("Written:", made.written), ("Next:", made.next_steps)):
        _print("\n".join([heading, *(f"  {inert(str(line))}" for line in lines or ("nothing that trains",)), ""]))
    return 0


# ---------------------------------------------------------------------------------------------------- what is asked for


@dataclass(frozen=True)
class _Run:
    """One audit to make: of the subject that `reference` names, or of a script."""

    plan: Plan
    reference: str
    folder: Path
    gate: Gate
    script: Path | str | None = None
    """A file, or a module."""

    @property
    def name(self) -> str:
        return self.plan.scenario or self.reference


def _runs(
    subject: str | None,
    config: Path | None,
    scenarios: Sequence[str],
    overrides: Sequence[str],
    fail_on: Sequence[str],
    baseline: Path | None = None,
    *,
    reads_baseline: bool = True,
) -> list[_Run]:
    """Read everything that is asked for, so that each mistake in it is told before the long work."""
    from gradaudit.config import ConfigFile, find_config
    from gradaudit.gating import gate_of
    from gradaudit.subject_lookup import check_reference

    path = config if config or subject else find_config(Path.cwd())
    if path is None and subject is None:
        raise ConfigError(
            "There is nothing to audit: no SUBJECT, no --config, and neither a gradaudit.toml nor a pyproject.toml "
            f"with [tool.gradaudit] in {Path.cwd()} or above it. Try: gradaudit trace path/to/file.py:callable"
        )
    file = ConfigFile(path)
    statuses = parse_fail_on([word.strip() for words in fail_on for word in words.split(",")], where="--fail-on")
    is_whole = path is not None and (not scenarios or set(scenarios) >= set(file.scenarios))
    runs = []
    for scenario in dict.fromkeys(scenarios or file.scenarios) or [None]:
        plan = file.plan(scenario, overrides)
        # A path in the file is relative to the file, and one that is typed to where it is typed.
        folder = path.parent if path is not None and subject is None else Path.cwd()
        reference = subject or plan.subject or plan.script
        if reference is None:
            raise ConfigError(file.without_subject)
        script = None
        if subject is None and plan.script is not None:
            script = _found_script(plan.script, folder)
            _require_no_settings(plan, file.scenarios)
        else:
            check_reference(reference, folder=folder)
        known = (baseline or plan.baseline) if reads_baseline else None
        gate = gate_of(plan, statuses if fail_on else None, known, is_whole=is_whole)
        runs.append(_Run(plan, reference, folder, gate, script))
    return runs


def _found_script(script: str, folder: Path) -> Path | str:
    """The file that a script is, named as from here, or the module that `python -m` would find."""
    from gradaudit.user_code import displayed

    file = folder / script
    if file.is_file():
        return Path(displayed(str(file)))
    first, *others = script.split(".")
    is_name = all(part.isidentifier() for part in (first, *others)) and others != ["py"]
    places = [str(place) for place in _places_of_modules(folder)]
    if is_name and (PathFinder.find_spec(first, places) or PathFinder.find_spec(first)):
        return script
    raise ConfigError(
        f"There is no script {file}: name the Python file that trains, as for `python`, or a module, as for "
        "`python -m`."
    )


def _places_of_modules(folder: Path) -> list[Path]:
    """Where the modules of a project lie, beside those that are installed."""
    return [folder.resolve(), folder.resolve() / "src"]


def _require_no_settings(plan: Plan, scenarios: Sequence[str]) -> None:
    """Check that nothing is asked of a script that it would not get to know of."""
    if scenarios:
        raise ConfigError(
            f"A script has no scenarios, such as {scenarios[0]!r}: it can be run once only, and gets none of the "
            "project's tables. Name a subject, or write a file for each way to train, with its own arguments."
        )
    if plan.changed:
        raise ConfigError(
            f"A script gets none of the project's tables, so that {plan.changed[0]!r} cannot be set: say it in its "
            'arguments, as by --set \'gradaudit.arguments=["--epochs", "1"]\'.'
        )


def _require_subjects(runs: Sequence[_Run], what: str) -> None:
    for run in runs:
        if run.script is not None:
            raise ConfigError(f"{what}, and the script {run.reference} can be run once only: name a subject instead.")


def _deliveries(forms: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
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
    shown = [*(form for form, path in pairs if _file(path) is None), *open_forms]
    if len(shown) > 1:
        raise click.UsageError(
            f"--format {' and '.join(shown)} would go to standard output together: give all but one an --output."
        )
    pairs += [(form, _DASH) for form in open_forms or ([] if pairs else ["text"])]
    return [(form, _file(path)) for form, path in pairs]


def _file(path: Path) -> Path | None:
    """The file that an --output names; None for standard output."""
    return None if path == _DASH else path


def _require_writable(outputs: Sequence[Path], folder: Path | None) -> None:
    from gradaudit.output import require_file, require_folder

    for output in filter(_file, outputs):
        require_file(output)
    if folder is not None:
        require_folder(folder)


# ------------------------------------------------------------------------------------------------------------ the audit


def _audit(
    runs: Sequence[_Run],
    finish: Callable[[Sequence[tuple[_Run, Audit]], _Terminal], int],
    **options: Any,
) -> int:
    """Make the audits, and return what `finish` makes of those that could be made, gated; of a script, end with it."""
    from gradaudit.environment import quiet_tensorflow, require_tensorflow

    require_tensorflow()
    quiet_tensorflow()
    with _terminal_at_work() as terminal:
        for run in runs:
            if run.script is not None:
                return _audit_script(run, run.script, finish, terminal, verify=options.get("verify", False))
        outcomes = [(run, _attempt(run, terminal.show, **options)) for run in runs]
        audited = [(run, audit) for run, audit in outcomes if audit is not None]
        return finish(_gated(audited, of_all=len(audited) == len(runs)), terminal)


def _audit_script(
    run: _Run,
    script: Path | str,
    finish: Callable[[Sequence[tuple[_Run, Audit]], _Terminal], int],
    terminal: _Terminal,
    *,
    verify: bool,
) -> int:
    """Run a script up to its first step; the process ends there, and returns only where there is none."""
    folder = Path.cwd()

    def conclude(conclusion: Audit | Exception) -> None:
        """Report, and end the process: the script must not go on, nor hear of this."""
        try:
            if isinstance(conclusion, Exception):
                raise conclusion
            audited = _gated([(run, conclusion)], of_all=True)
            os.chdir(folder)  # what is written is meant from here, wherever the script went
            status = finish(audited, terminal)
        except Exception as error:  # noqa: BLE001  # as at the end of any other command
            terminal.release()
            status = _refuse(_explanation(error))
            _show_traceback(error)
        _end(status)

    terminal.show(run.name, "import")
    from gradaudit.running import run_script

    run_script(
        script,
        run.plan.arguments,
        conclude,
        places=_places_of_modules(run.folder),
        participation_scopes=run.plan.participation_scopes,
        verify=verify,
        contracts=run.plan.contracts,
        progress=lambda phase: terminal.show(run.name, phase),
    )
    return COULD_NOT_AUDIT


def _attempt(run: _Run, show: Callable[[str, str], None], **options: Any) -> Audit | None:
    """Make one audit, or say why it cannot be made: the others go on."""
    show(run.name, "import")
    folder = Path.cwd()
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
    except MeasureError as error:
        _refuse(_prefix(run) + str(error))
        _show_traceback(error)
        audit_without: Audit = error.audit
        return audit_without
    except Exception as error:  # noqa: BLE001  # nor may one audit's crash take the others along
        _refuse(_prefix(run) + _explanation(error))
        _show_traceback(error)
    finally:
        os.chdir(folder)  # what is written is meant from here, wherever the audited code went
    return None


def _gated(audited: Sequence[tuple[_Run, Audit]], *, of_all: bool) -> list[tuple[_Run, Audit]]:
    """The audits with their findings as the project grades and accepts them; `of_all` says that none is missing."""
    from gradaudit.gating import gated

    gates = [replace(run.gate, is_whole=run.gate.is_whole and of_all) for run, _ in audited]
    audits = gated([audit for _, audit in audited], gates)
    return [(run, audit) for (run, _), audit in zip(audited, audits, strict=True)]


def _report(audits: Sequence[Audit]) -> Report:
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report

    return Report(tool=tool(), environment=versions(), audits=tuple(audits))


def _gate(run: _Run, audit: Audit) -> int:
    return _judge(audit, run.gate, _prefix(run))


def _judge(audit: Audit, gate: Gate, prefix: str = "") -> int:
    """Say on what the run fails, if on anything; returns the exit status."""
    failed = failures(audit)
    if failed:
        _say(f"{prefix}The gate fails: {', '.join(_counted(failed))}.")
    return exit_status(failed)


def _counted(failed: Sequence[Finding]) -> list[str]:
    """The variables that fail by status, then the findings by rule."""
    statuses: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for each in failed:
        if each.group is not None:
            statuses[each.group.status] += len(each.open_variables)
        else:
            others[each.rule] += 1
    return [
        *(f"{statuses[status]} {status}" for status in STATUSES if statuses[status]),
        *(f"{number} {_of_rule(code, number)}" for code, number in sorted(others.items())),
    ]


def _of_rule(code: str, number: int) -> str:
    """What findings of a rule are called beside their number."""
    if code in ("GA203", "GA204", "GA205"):
        return f"broken contract{'s' if number > 1 else ''} ({code})"
    return code


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
    from gradaudit.reports.formats import ENDINGS, FORMATS
    from gradaudit.reports.matrix import render_matrix, render_scenarios
    from gradaudit.reports.page import render_page
    from gradaudit.reports.picture import draw, render_picture
    from gradaudit.reports.terminal import render_text
    from gradaudit.reports.wording import name

    names = [name(audit) for audit in report.audits]
    _, *stems = file_names(["scenarios", *names])
    for form, ending in ENDINGS.items():
        write_file(folder / f"report.{ending}", FORMATS[form](report).encode())
    write_file(folder / "report.html", render_page(report).encode())
    if len(names) > 1:
        write_file(folder / "scenarios.csv", render_scenarios(report).encode())
    for audit, stem in zip(report.audits, stems, strict=True):
        show(name(audit), "draw")
        dot = draw(audit)
        write_file(folder / f"{stem}.dot", dot.encode())
        for image_format in ("svg", "png"):
            write_file(folder / f"{stem}.{image_format}", render_picture(dot, image_format))
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


def _deliver(report: Report, deliveries: Sequence[tuple[str, Path | None]], render: Callable[..., str]) -> None:
    """Write the report in each format; `render` gives its text, as wide and colourful as what it is written to."""
    from gradaudit.output import write_file

    mishaps: list[OutputError] = []
    for form, output in deliveries:
        text = _rendered(report, form, render, output is None and _is_terminal())
        try:
            if output is not None:
                write_file(output, text.encode())
            else:
                _print(text)
        except OutputError as error:  # the other formats are not to be lost
            mishaps.append(error)
    if mishaps:
        raise OutputError("\n".join(map(str, mishaps)))


def _text_of(report: Report, **options: Any) -> str:
    from gradaudit.reports.terminal import render_text

    return render_text(report, **options)


def _rendered(report: Report, form: str, render: Callable[..., str], on_terminal: bool) -> str:
    if form == "text":
        return _fitted(render, report, on_terminal=on_terminal)
    from gradaudit.reports.formats import FORMATS

    return FORMATS[form](report)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _fitted(render: Callable[..., str], content: Any, *, on_terminal: bool) -> str:
    """A text as wide and colourful as what it is written to."""
    color = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if on_terminal else PIPED_WIDTH
    return render(content, color=color, width=width)


def _print(text: str) -> None:
    """Write to standard output; whoever reads it may have seen enough before the end."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed: name a file with --output.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding does not know is no reason to lose the report.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _readers_may_leave():
        sys.stdout.write(text)
        sys.stdout.flush()


def _print_bytes(content: bytes) -> None:
    """Write to standard output what a program reads, byte by byte."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed: name a file with --output.")
    with _readers_may_leave():
        sys.stdout.buffer.write(content)
        sys.stdout.flush()


@contextlib.contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Let nothing come of it that a reader of standard output has seen enough; what else goes wrong there is told."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain of the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"The report cannot be written to standard output: {error.strerror}.") from None


# ----------------------------------------------------------------------------------------------- the terminal meanwhile


@dataclass(frozen=True)
class _Terminal:
    """The terminal while audits are made: `show` which one is in which phase, `release` it for the report."""

    show: Callable[[str, str], None]
    release: Callable[[], None]


@contextlib.contextmanager
def _terminal_at_work() -> Iterator[_Terminal]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(_standard_output_kept_clean())
        yield _Terminal(stack.enter_context(_progress()), stack.close)


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


def _end(status: int) -> NoReturn:
    """End the process at once, so that nothing runs which the script has registered for its end or for its failure."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():  # nobody else would end them
            child.terminate()
    os._exit(status)


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
    return without_commands("\n".join(inert(line) for line in plain.splitlines()))
