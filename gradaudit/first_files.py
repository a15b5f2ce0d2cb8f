"""The files that `gradaudit init` writes: a configuration with every key explained, and a subject where one is needed.

Where something trains when it is run, the configuration names that, so that the project's own code says what is
audited. What is written says what was found, and what was left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradaudit.errors import ConfigError
from gradaudit.output import write_file
from gradaudit.project_search import FoundBuilder, FoundSubject, Place, Project, Trainer, search_project

CONFIG = "gradaudit.toml"
SUBJECT = "audits.py"
_MARK = "FILL THIS IN"
_LISTED = 12
"""How much of what is found is listed, at most."""
_LINES_LISTED = 3

_Found = FoundSubject | Trainer | FoundBuilder


@dataclass(frozen=True)
class FirstFiles:
    """What was written, what was found, and what to do next, each as lines to print."""

    written: tuple[Path, ...]
    found: tuple[str, ...]
    next_steps: tuple[str, ...]


def write_first_files(folder: Path) -> FirstFiles:
    """Search a project and write its first configuration, and a subject where it needs one; nothing is overwritten.

    Raises:
        ConfigError: the folder is none, or holds such a file already.
        OutputError: a file cannot be written.
    """
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder} to look for a project in.")
    _refuse_to_overwrite(folder, [CONFIG])
    project = search_project(folder)
    usable = list(_by_use(project))
    chosen, left_out = next(iter(usable), None), usable[1:]
    files = _files(chosen, left_out, folder)
    _refuse_to_overwrite(folder, files)
    for name, text in files.items():
        write_file(folder / name, text.encode())
    return FirstFiles(
        written=tuple(folder / name for name in files),
        found=tuple(_found(project, chosen, left_out)),
        next_steps=tuple(_next_steps(project, chosen, folder)),
    )


def _by_use(project: Project) -> Iterator[_Found]:
    """What could be audited, the best first: a model that is made and trained goes before one that is only made."""
    yield from project.subjects
    yield from (trainer for trainer in project.trainers if trainer.is_sure)
    yield from project.builders
    yield from (trainer for trainer in project.trainers if not trainer.is_sure)


def _files(chosen: _Found | None, left_out: Sequence[_Found], folder: Path) -> dict[str, str]:
    """The texts to write, by name; the configuration comes last."""
    if isinstance(chosen, FoundSubject):
        return {CONFIG: _config(_subject_key(f"{chosen.place.file.as_posix()}:{chosen.name}", chosen), left_out)}
    if isinstance(chosen, Trainer):
        own = {} if chosen.function is None else {SUBJECT: _driver(chosen, chosen.function, folder)}
        return {**own, CONFIG: _config(_script_key(chosen), left_out, scenarios="")}
    subject = _TO_FILL_IN if chosen is None else _of_builder(chosen, folder)
    return {SUBJECT: subject, CONFIG: _config(_subject_key(f"{SUBJECT}:subject", chosen), left_out)}


def _refuse_to_overwrite(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise ConfigError(
                f"{folder / name} is there already, and init overwrites nothing: change it, or move it away."
            )
    pyproject = folder / "pyproject.toml"
    if pyproject.is_file() and "[tool.gradaudit" in pyproject.read_text("utf-8", errors="replace"):
        raise ConfigError(f"{pyproject} has a table [tool.gradaudit] already: `gradaudit trace` uses that.")


# ------------------------------------------------------------------------------------------------------- what is told


def _found(project: Project, chosen: _Found | None, left_out: Sequence[_Found]) -> Iterator[str]:
    if chosen is not None:
        yield f"{_told(chosen)} (this is audited)"
    yield from _listed(map(_told, left_out))
    yield from _listed(f"{notebook.as_posix()}: a notebook that names Keras" for notebook in project.notebooks)
    yield from _listed(f"{path.as_posix()}: cannot be read as Python" for path in project.unread)


def _told(found: _Found) -> str:
    if isinstance(found, FoundSubject):
        return f"{found.place}: {found.name} returns a Subject"
    if isinstance(found, FoundBuilder):
        return f"{found.place}: {found.name} returns a compiled model"
    what = "trains when it is run" if found.function is None else f"{found.function} trains when it is called"
    doubt = "" if found.is_sure else "; that may be a scaler's, for no model is compiled on the way"
    return f"{found.place}: {what}, {_lines(found.trained_at)}{doubt}"


def _lines(trained_at: Sequence[tuple[str, Place]]) -> str:
    more = len(trained_at) - _LINES_LISTED
    shown = ", ".join(f"{what} at {place}" for what, place in trained_at[:_LINES_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


def _listed(lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from every[:_LISTED]
    if len(every) > _LISTED:
        yield f"and {len(every) - _LISTED} more"


def _next_steps(project: Project, chosen: _Found | None, folder: Path) -> Iterator[str]:
    if chosen is None:
        yield f"Say in {folder / SUBJECT} what is trained: it marks the place."
        yield "Or audit a script as it is: gradaudit run SCRIPT ARGS..."
        if project.notebooks:
            yield "Or audit in a cell of the notebook: gradaudit.audit(gradaudit.Subject.from_keras(model, batch))"
    if isinstance(chosen, Trainer) and chosen.function is None:
        yield f"Give what {chosen.reference} needs on its command line, if anything, as arguments in {folder / CONFIG}."
    if folder.resolve() != Path.cwd():
        yield f"cd {folder}"
    yield "gradaudit trace"


# -------------------------------------------------------------------------------------------------------- the subject


def _driver(trainer: Trainer, function: str, folder: Path) -> str:
    return _OF_FUNCTION.format(
        place=trainer.place, name=function, imports=_imports(trainer.place.file, function, folder)
    )


def _of_builder(builder: FoundBuilder, folder: Path) -> str:
    libraries = ("import keras", "import tensorflow as tf", "from gradaudit import Subject")
    return _WITH_BUILDER.format(
        place=builder.place,
        name=builder.name,
        imports=_imports(builder.place.file, builder.name, folder, libraries),
        labels="ids_like" if builder.is_sparse else "values_like",
        more=_IDS_LIKE if builder.is_sparse else "",
    )


def _imports(file: Path, name: str, folder: Path, libraries: Sequence[str] = ()) -> str:
    """Import statements; the folder of a file that is in no package is put where Python looks, as for a script."""
    parts = [file.stem]
    place = file.parent
    while place != Path() and (folder / place / "__init__.py").is_file():
        parts.insert(0, place.name)
        place = place.parent
    own = [f"from {'.'.join(parts)} import {name}"]
    blocks = [libraries, own]
    if place != Path():
        insert = [f'sys.path.insert(0, str(Path(__file__).parent / "{place.as_posix()}"))']
        blocks = [["import sys", "from pathlib import Path"], libraries, insert, own]
    return "\n\n".join("\n".join(block) for block in blocks if block)


_OF_FUNCTION = '''"""Trains as {name} does at {place}; gradaudit ends it at the first step. By `gradaudit init`."""

{imports}

if __name__ == "__main__":
    {name}()
'''

_WITH_BUILDER = '''"""What gradaudit audits: the model that {name} compiles at {place}. Written by `gradaudit init`."""

{imports}

BATCH_SIZE = 8


def subject() -> Subject:
    """Return the model, and a batch made up from its own inputs and outputs."""
    model = {name}()
    is_sequential = isinstance(model, keras.Sequential)
    inputs = model.inputs[0] if is_sequential else model.input
    outputs = model.outputs[0] if is_sequential else model.output
    x = keras.tree.map_structure(values_like, inputs)
    y = keras.tree.map_structure({labels}, outputs)
    # If fit gets something else, say so here: TensorSpecs, arrays, a tf.data.Dataset or
    # a PyDataset will do. What is done to the model before fit belongs here, too.
    return Subject.from_keras(model, (x, y))


def values_like(tensor: keras.KerasTensor) -> tf.TensorSpec:
    """Return what describes a batch of such values."""
    return tf.TensorSpec((BATCH_SIZE, *tensor.shape[1:]), tensor.dtype)
{more}'''

_IDS_LIKE = '''

def ids_like(tensor: keras.KerasTensor) -> tf.TensorSpec:
    """Return what describes a batch of ids, one for each vector of such scores."""
    return tf.TensorSpec((BATCH_SIZE, *tensor.shape[1:-1]), tf.int64)
'''

_TO_FILL_IN = f'''"""What gradaudit audits. Written by `gradaudit init`, which found nothing to use: {_MARK}."""

from gradaudit import Subject


def subject() -> Subject:
    """Return what is trained: a compiled Keras model with a batch, or any step with its inputs."""
    # {_MARK}: one of these two, with your own names.
    #
    #   model = build_and_compile()
    #   return Subject.from_keras(model, (tf.TensorSpec((8, 80), tf.float32), tf.TensorSpec((8, 1), tf.float32)))
    #
    #   return Subject(train_step, inputs=(x_spec, y_spec), variables=model.trainable_variables)
    raise NotImplementedError("say here what is trained, where it reads {_MARK}")
'''


# -------------------------------------------------------------------------------------------------- the configuration


_SCENARIOS = """
# Several ways to train, audited in one run: each replaces keys of this file. All tables but [gradaudit] are the
# project's, and a subject that takes an argument gets them as a dict.
#
# [[gradaudit.scenario]]
# name = "one-target"
# set = { "data.targets" = ["mel"] }
"""


def _config(key: str, left_out: Sequence[_Found], scenarios: str = _SCENARIOS) -> str:
    lines = [f"#   {line}" for line in _listed(map(_alternative, left_out))]
    others = "\n".join(["", "# Left out, for one audit has one step:", *lines, ""]) if lines else ""
    return _CONFIG.format(key=key, left_out=others, scenarios=scenarios)


def _subject_key(reference: str, found: FoundSubject | FoundBuilder | None) -> str:
    told = _NOTHING if found is None else f"Found: {_told(found)}."
    return _SUBJECT_KEY.format(told=told, reference=_quoted(reference))


def _script_key(trainer: Trainer) -> str:
    own = trainer.reference if trainer.function is None else SUBJECT
    command = f"python {own}" if own.endswith(".py") else f"python -m {own}"
    return _SCRIPT_KEY.format(told=_told(trainer), command=command, reference=_quoted(own))


def _alternative(found: _Found) -> str:
    if isinstance(found, Trainer) and found.function is None:
        return f"script = {_quoted(found.reference)}  # {_told(found)}"
    return _told(found)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_NOTHING = 'Nothing was found that trains. A script that does can be named in its place: script = "train.py".'

_SUBJECT_KEY = """\
# The function that returns what is trained: "file.py:callable", relative to this file, or "package.module:callable".
# {told}
subject = {reference}"""

_SCRIPT_KEY = """\
# What is run, as `{command}` from the working folder, up to its first train step. That step is audited and not
# run, nor is anything after it; what comes before it is done for real.
# Found: {told}.
# A subject = "file.py:callable" in its place, which returns a gradaudit.Subject, is for scenarios and for --probe.
script = {reference}

# Its command line.
arguments = []"""

_CONFIG = """\
# What gradaudit audits, and what fails. Written by `gradaudit init`; `gradaudit trace` finds it from here downwards.

[gradaudit]
{key}
{left_out}
# A variable with one of these statuses fails the run. This is the default.
fail-on = ["disconnected", "zero-gradient", "untracked", "not-updated", "opaque"]

# Name scopes of loss terms that exist only so that a gradient exists.
participation-scopes = ["gradient_participation"]
{scenarios}
# What the training is meant to do; a contract that is broken fails the run.
#
# [[gradaudit.must-train]]
# variables = ["*/codebook"]
#
# [[gradaudit.frozen]]
# variables = ["teacher/*"]
#
# [[gradaudit.may-be-disconnected]]
# variables = ["*/pitch_projection/*"]
# reason = "its targets come with the next corpus"
"""
