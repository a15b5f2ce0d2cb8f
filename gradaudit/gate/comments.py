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
    """A comment, and the lines of the statement that it stands at, of which each is one that it speaks of."""

    file: str
    line: int
    rules: tuple[str, ...]
    reason: str
    lines: range

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

    def at(self, sources: Iterable[Source]) -> tuple[Ignore, ...]:
        """The comments on these lines, in order."""
        known = dict.fromkeys(sources)
        ignores = [ignore for file in dict.fromkeys(source.file for source in known) for ignore in self._in(file)]
        return tuple(ignore for ignore in ignores if any(ignore.covers(source) for source in known))

    def _in(self, file: str) -> tuple[Ignore, ...]:
        if file not in self._of_files:
            self._of_files[file] = tuple(_ignores(file))
        return self._of_files[file]


def _is_below(path: str, made_at: Mapping[str, Source], ignore: Ignore) -> bool:
    """Whether a comment stands where a layer was made that holds this variable."""
    parts = path.split("/")
    layers = ("/".join(parts[:length]) for length in range(1, len(parts)))
    return any(layer in made_at and ignore.covers(made_at[layer]) for layer in layers)


def _ignores(file: str) -> Iterator[Ignore]:
    try:
        with tokenize.open(file) as opened:
            text = opened.read()
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
            yield Ignore(file, line, rules, match[2].strip(), _statement(tree, about))


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost call at a line, or else statement; of one with a body, the lines above that."""
    found = range(line, line + 1)
    for kind in (ast.stmt, ast.Call):
        spans = [_span(node) for node in ast.walk(tree) if isinstance(node, kind)]
        around = [span for span in spans if line in span]
        if around:
            found = min(around, key=len)
    return found


def _span(node: ast.stmt | ast.Call) -> range:
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
    return range(node.lineno, max(last or 0, node.lineno) + 1)
