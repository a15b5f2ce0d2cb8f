"""The files that `gradaudit init` writes: a configuration with every key explained, and a subject to audit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gradaudit.errors import ConfigError
from gradaudit.output import write_file
from gradaudit.project_search import FoundBuilder, FoundFit, Project, search_project

CONFIG = "gradaudit.toml"
SUBJECT = "audits.py"
_MARK = "FILL THIS IN"


@dataclass(frozen=True)
class FirstFiles:
    """What was written, what was found, and what to do next, each as lines to print."""

    written: tuple[Path, ...]
    found: tuple[str, ...]
    next_steps: tuple[str, ...]


def write_first_files(folder: Path) -> FirstFiles:
    """Search a project and write its first configuration, and a subject where it has none; nothing is overwritten.

    Raises:
        ConfigError: the folder is none, or holds such a file already.
        OutputError: a file cannot be written.
    """
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder} to look for a project in.")
    _refuse_to_overwrite(folder, [CONFIG])
    project = search_project(folder)
    if project.subjects:
        subject = project.subjects[0]
        files = {CONFIG: _config(f"{subject.place.file.as_posix()}:{subject.name}")}
    else:
        _refuse_to_overwrite(folder, [SUBJECT])
        files = {SUBJECT: _subject(project, folder), CONFIG: _config(f"{SUBJECT}:subject")}
    for name, text in files.items():
        write_file(folder / name, text.encode())
    return FirstFiles(tuple(folder / name for name in files), tuple(_found(project)), tuple(_next(project, folder)))


def _refuse_to_overwrite(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise ConfigError(
                f"{folder / name} is there already, and init overwrites nothing: change it, or move it away."
            )
    pyproject = folder / "pyproject.toml"
    if pyproject.is_file() and "[tool.gradaudit" in pyproject.read_text("utf-8", errors="replace"):
        raise ConfigError(f"{pyproject} has a table [tool.gradaudit] already: `gradaudit trace` uses that.")


def _found(project: Project) -> Iterable[str]:
    yield from (f"{found.place}  {found.name} returns a Subject" for found in project.subjects)
    yield from (f"{found.place}  fit, in {found.function}" for found in project.fits)
    yield from (f"{found.place}  {found.name} returns a compiled model" for found in project.builders)
    yield from (f"{place}  differentiates" for place in project.steps)
    yield from (f"{place.file.as_posix()}  trains when it is run" for place in project.scripts)


def _next(project: Project, folder: Path) -> Iterable[str]:
    if not (project.subjects or project.fits or project.builders):
        yield f"Say in {folder / SUBJECT} what is trained: it marks the place."
        for place in project.scripts[:1]:
            yield f"Or audit the script as it is: gradaudit run {folder / place.file}"
    yield f"gradaudit trace --config {folder / CONFIG}"


# -------------------------------------------------------------------------------------------------------- the subject


def _subject(project: Project, folder: Path) -> str:
    if project.fits:
        return _of_fit(project.fits[0], folder)
    if project.builders:
        return _of_builder(project.builders[0], folder)
    return _TO_FILL_IN


def _of_fit(fit: FoundFit, folder: Path) -> str:
    body = "\n".join(f"    {line}" for statement in fit.statements for line in statement.splitlines())
    if len(fit.data) == 1:
        batch = fit.data[0]
    else:
        batch = f"keras.tree.map_structure(lambda values: values[:BATCH_SIZE], ({', '.join(fit.data)}))"
    one_batch = "" if len(fit.data) == 1 else "BATCH_SIZE = 8\n\n\n"
    return _WITH_FIT.format(
        place=fit.place,
        function=fit.function,
        imports=_imports(fit.place.file, fit.imported, folder, keras=len(fit.data) > 1),
        one_batch=one_batch,
        body=f"{body}\n" if body else "",
        model=fit.model,
        batch=batch,
    )


def _of_builder(builder: FoundBuilder, folder: Path) -> str:
    return _WITH_BUILDER.format(
        place=builder.place,
        name=builder.name,
        imports=_imports(builder.place.file, (builder.name,), folder, keras=True, tensorflow=True),
        labels=_IDS if builder.sparse else _LIKE_OUTPUTS,
    )


def _imports(file: Path, names: Iterable[str], folder: Path, *, keras: bool, tensorflow: bool = False) -> str:
    """Import statements; the folder of a file that is in no package is put where Python looks, as for a script."""
    parts = [file.stem]
    place = file.parent
    while place != Path() and (folder / place / "__init__.py").is_file():
        parts.insert(0, place.name)
        place = place.parent
    listed = ", ".join(names)
    frameworks = [*(["import keras"] if keras else []), *(["import tensorflow as tf"] if tensorflow else [])]
    own = [f"from {'.'.join(parts)} import {listed}"] if listed else []
    if place != Path():
        head = ["import sys", "from pathlib import Path", "", *frameworks, "", "from gradaudit import Subject", ""]
        return "\n".join([*head, f'sys.path.insert(0, str(Path(__file__).parent / "{place.as_posix()}"))', "", *own])
    return "\n".join([*frameworks, *own, "", "from gradaudit import Subject"]).lstrip("\n")


_WITH_FIT = '''"""What gradaudit audits: the step that `fit` runs at {place}. Written by `gradaudit init`."""

{imports}

{one_batch}def subject() -> Subject:
    """Return what is trained: the model, and a batch as {function} makes them."""
{body}    # No step is run: a description of a batch, as (tf.TensorSpec((8, 80), tf.float32), ...), does too.
    return Subject.from_keras({model}, {batch})
'''

_WITH_BUILDER = '''"""What gradaudit audits: the model that {name} compiles at {place}. Written by `gradaudit init`."""

{imports}

BATCH_SIZE = 8


def subject() -> Subject:
    """Return what is trained: the model, and a batch that is made up from the model's own inputs and outputs."""
    model = {name}()
    is_sequential = isinstance(model, keras.Sequential)
    inputs, outputs = (model.inputs[0], model.outputs[0]) if is_sequential else (model.input, model.output)
    x = keras.tree.map_structure(lambda each: tf.TensorSpec((BATCH_SIZE, *each.shape[1:]), each.dtype), inputs)
    {labels}
    # If fit gets something else, say so here: TensorSpecs, arrays, a tf.data.Dataset or a PyDataset will do.
    return Subject.from_keras(model, (x, y))
'''

_LIKE_OUTPUTS = (
    "y = keras.tree.map_structure(lambda each: tf.TensorSpec((BATCH_SIZE, *each.shape[1:]), each.dtype), outputs)"
)
_IDS = "y = keras.tree.map_structure(lambda each: tf.TensorSpec((BATCH_SIZE, *each.shape[1:-1]), tf.int64), outputs)"

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
    raise NotImplementedError("say here what is trained, where it reads {_MARK}; or try gradaudit run SCRIPT")
'''


# -------------------------------------------------------------------------------------------------- the configuration


def _config(subject: str) -> str:
    return _CONFIG.format(subject=subject)


_CONFIG = """\
# What gradaudit audits, and what fails. Written by `gradaudit init`; `gradaudit trace` finds it from here downwards.

[gradaudit]
# The function that returns what is trained: "file.py:callable", relative to this file, or "package.module:callable".
subject = "{subject}"

# A variable with one of these statuses fails the run. This is the default.
fail-on = ["disconnected", "zero-gradient", "untracked", "not-updated", "opaque"]

# Name scopes of loss terms that exist only so that a gradient exists.
participation-scopes = ["gradient_participation"]

# Several ways to train, audited in one run: each replaces keys of this file. All tables but [gradaudit] are the
# project's, and a subject that takes an argument gets them as a dict.
#
# [[gradaudit.scenario]]
# name = "one-target"
# set = {{ "data.targets" = ["mel"] }}

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
