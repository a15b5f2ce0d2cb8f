"""Answers of earlier commands: taken from the cache where nothing has changed, and kept there where that is certain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradaudit.cli.asked import Run
from gradaudit.cli.attempts import Outcome
from gradaudit.cli.terminal import say
from gradaudit.errors import OutputError


def places_of_software(run: Run) -> list[str]:
    """Where a run looks for distributions: where Python does, and where its subject may lie."""
    from gradaudit.cache.software import search_path

    target = run.reference.rpartition(":")[0]
    folders = (Path.cwd(), run.folder.resolve(), (run.folder / target).resolve().parent)
    return list(dict.fromkeys([*search_path(), *map(str, folders)]))


class Kept:
    """A folder of answers, for audits that are made with the same options."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self._folder = folder
        self._options = options

    def outcome(self, run: Run) -> Outcome | None:
        """What came of the same audit before, if it would be made from the same now."""
        from gradaudit.cache.entries import read_answer
        from gradaudit.cache.software import software

        began = time.perf_counter()
        answer = read_answer(self._file(run), software(places_of_software(run)))
        if answer is None or not isinstance(answer.content, Outcome) or answer.content.audit is None:
            return None
        audit = answer.content.audit
        files = len(answer.manifest.contents)
        note = (
            f"answered from the cache of {self._folder}: made at {answer.made} from {files} files, and all that it was "
            "made from is as it was."
        )
        seconds = {"cache": time.perf_counter() - began}
        return replace(answer.content, audit=replace(audit, notes=(*audit.notes, note), seconds=seconds))

    def keep(self, run: Run, outcome: Outcome) -> None:
        """Keep what came of an audit, if it is held fast what that was made from."""
        from gradaudit.cache.entries import write_answer

        if outcome.manifest is None:
            return
        try:
            write_answer(self._file(run), replace(outcome, manifest=None), outcome.manifest)
        except OutputError as error:
            say(f"{run.prefix}Not cached: {error}")

    def _file(self, run: Run) -> Path:
        from gradaudit.cache.entries import file_of

        plan = run.plan
        asked = (plan.scenario, plan.project, plan.changed, plan.participation_scopes, plan.contracts)
        return file_of(self._folder, (run.reference, str(run.folder.resolve()), asked, sorted(self._options.items())))
