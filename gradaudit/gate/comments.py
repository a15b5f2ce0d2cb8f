"""Findings that a project accepts in its code: `# gradaudit: ignore[GA101] reason` on the line that makes a layer."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gradaudit.graph.verdicts import Finding, Source, Suppression

_COMMENT = re.compile(r"#\s*gradaudit:\s*ignore\[([^\]]*)\][\s:-]*(.*)")


@dataclass(frozen=True)
class Ignore:
    """A comment, and the lines of the statement that it stands at, of which each is one that it speaks of.

    `later` are lines that only run once that statement has.
    """

    file: str
    line: int
    rules: tuple[str, ...]
    reason: str
    lines: range
    later: frozenset[int] = frozenset()

    def covers(self, source: Source) -> bool:
        """Whether it speaks of this line."""
        return source.file == self.file and source.line in self.lines

    def __str__(self) -> str:
        return f"# gradaudit: ignore[{', '.join(self.rules)}] at {self.file}:{self.line}"


@dataclass
class Comments:
    """The comments of files, which are read when they are first asked for."""

    _of_files: dict[str, tuple[Ignore, ...]] = field(default_factory=dict)

    def of(self, finding: Finding, made_at: Mapping[str, Source]) -> Iterator[tuple[Ignore, Suppression]]:
        """The comments that accept a finding, and for which of its variables.

        Those count on the lines that made the layer of a variable, or a layer around it; for a finding without
        variables, on the lines that it names.

        Args:
            finding: a finding.
            made_at: the line that made each layer, by the layer's path.
        """
        for ignore in self.at([*finding.sources, *made_at.values()]):
            if finding.rule not in ignore.rules or not ignore.reason:
                continue
            covered = tuple(path for path in finding.variables if _is_below(path, made_at, ignore))
            is_about = not finding.variables and any(ignore.covers(source) for source in finding.sources)
            if covered or is_about:
                yield ignore, Suppression("comment", ignore.reason, covered)

    def at(self, sources: Iterable[Source], passed: Iterable[Source] = ()) -> tuple[Ignore, ...]:
        """The comments on these lines, and on statements that must have run before lines that are passed; in order."""
        named, run = _lines_of_files(sources), _lines_of_files(passed)
        ignores = [ignore for file in {**named, **run} for ignore in self._in(file)]
        return tuple(
            ignore
            for ignore in ignores
            if not named.get(ignore.file, set()).isdisjoint(ignore.lines) or run.get(ignore.file, set()) & ignore.later
        )

    def _in(self, file: str) -> tuple[Ignore, ...]:
        if file not in self._of_files:
            self._of_files[file] = tuple(_ignores(file))
        return self._of_files[file]


def _lines_of_files(sources: Iterable[Source]) -> dict[str, set[int]]:
    lines: dict[str, set[int]] = {}
    for source in sources:
        lines.setdefault(source.file, set()).add(source.line)
    return lines


def _is_below(path: str, made_at: Mapping[str, Source], ignore: Ignore) -> bool:
    """Whether a comment stands where a layer was made that holds this variable."""
    parts = path.split("/")
    layers = ("/".join(parts[:length]) for length in range(1, len(parts)))
    return any(layer in made_at and ignore.covers(made_at[layer]) for layer in layers)


def _ignores(file: str) -> Iterator[Ignore]:
    try:
        with tokenize.open(file) as opened:
            text = opened.read()
        if _COMMENT.search(text) is None:
            return
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError, tokenize.TokenError):
        return  # a line of a notebook, of a package in an archive: nobody can have written a comment for this there
    lines = text.splitlines()
    for token in tokens:
        match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
        if match is not None:
            rules = tuple(rule.strip().upper() for rule in match[1].split(",") if rule.strip())
            line = token.start[0]
            about = line
            while about <= len(lines) and lines[about - 1].lstrip().startswith("#"):
                about += 1  # a comment on a line of its own is about what comes next
            yield Ignore(file, line, rules, match[2].strip(), _statement(tree, about), _later(tree, about))


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost call at a line, or else statement; of one with a body, the lines above that."""
    found = range(line, line + 1)
    for kind in (ast.stmt, ast.Call):
        spans = [_span(node) for node in ast.walk(tree) if isinstance(node, kind)]
        around = [span for span in spans if line in span]
        if around:
            found = min(around, key=len)
    return found


def _later(tree: ast.Module, line: int) -> frozenset[int]:
    """The lines of a function that only run once the statement at a line has.

    There are none where that statement may be left out: in a branch, a loop, a `with`, or with a condition of its own.
    """
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                if line in _span(statement) and not any(map(_may_be_left_out, ast.walk(statement))):
                    return frozenset(range(statement.lineno, (function.end_lineno or 0) + 1)) - _inner(function)
    return frozenset()


def _may_be_left_out(node: ast.AST) -> bool:
    """Whether a node has parts that need not run where it does."""
    return hasattr(node, "body") or isinstance(node, ast.BoolOp | ast.comprehension)


def _inner(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    """The lines of the functions within a function, which run whenever they are called."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inner = [node for node in ast.walk(function) if isinstance(node, kinds) and node is not function]
    return {line for node in inner for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _span(node: ast.stmt | ast.Call) -> range:
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
    return range(node.lineno, max(last or 0, node.lineno) + 1)
