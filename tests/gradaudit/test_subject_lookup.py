"""How a subject is found and called, and what a person is told when that goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradaudit import Subject
from gradaudit.errors import ConfigError, SubjectError
from gradaudit.subject_lookup import audited_code_forgotten, check_reference, find_subject, lazy_subject

SUBJECT = """
from gradaudit import Subject

def plain():
    return Subject(print, [], name="plain")

def configured(config):
    return Subject(print, [], name=config["model"]["preset"])

class Recipes:
    @staticmethod
    def inner():
        return Subject(print, [], name="inner")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of its own, from which nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with audited_code_forgotten():
        yield tmp_path


def write(path: str, text: str = SUBJECT) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, "utf-8")


def built(reference: str, project: dict[str, Any] | None = None, **options: Any) -> Any:
    return lazy_subject(reference, folder=Path.cwd(), project=project or {}, **options)()


def complaint(reference: str, text: str | None = None) -> str:
    if text is not None:
        write("subject.py", text)
    with pytest.raises(SubjectError) as caught:
        built(reference)
    return str(caught.value)


# -------------------------------------------------------------------------------------------------------------- finding


def test_a_module_is_found_in_the_folder_of_the_config_and_in_the_working_folder(folder: Path):
    write("configs/beside_config.py")
    write("package/beside_work.py")

    assert find_subject("beside_config:plain", folder=folder / "configs")().name == "plain"
    assert find_subject("package.beside_work:plain", folder=folder / "configs")().name == "plain"


def test_a_file_is_named_relative_to_the_folder_of_the_config(folder: Path):
    write("configs/nested/subject.py")

    assert find_subject("nested/subject.py:plain", folder=folder / "configs")().name == "plain"


def test_a_file_finds_the_modules_beside_it():
    write("scripts/sizes.py", "PRESET = 'from beside'")
    write("scripts/train.py", "from sizes import PRESET\n" + SUBJECT.replace('"plain"', "PRESET"))

    assert built("scripts/train.py:plain").name == "from beside"


def test_a_file_within_a_package_is_imported_as_a_part_of_it():
    write("package/__init__.py", "")
    write("package/sizes.py", "PRESET = 'from within'")
    write("package/train.py", "from .sizes import PRESET\n" + SUBJECT.replace('"plain"', "PRESET"))

    assert built("package/train.py:plain").name == "from within"


def test_a_file_that_is_called_like_a_loaded_module_takes_not_its_place():
    import json

    write("json.py")

    assert built("./json.py:plain").name == "plain"
    assert sys.modules["json"] is json


def test_a_callable_may_stand_in_a_class():
    write("subject.py")

    assert built("subject.py:Recipes.inner").name == "inner"


def test_nothing_is_imported_before_the_subject_is_asked_for():
    write("subject.py", "raise RuntimeError")

    lazy_subject("subject.py:plain", folder=Path.cwd(), project={})


def test_audited_code_is_imported_anew_for_the_next_audit():
    write("subject.py", SUBJECT + "seen = []\ndef counted():\n    seen.append(1)\n    return Subject(print, seen)")

    for _ in range(2):
        with audited_code_forgotten():
            assert built("subject:counted").inputs == (1,)


# -------------------------------------------------------------------------------------------------------------- calling


def test_audited_code_is_forgotten_also_where_its_module_took_the_place_of_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """As where a program has loaded two other files of that name before."""
    others = {name: ModuleType(name) for name in ("again", "subject_again")}
    for name, other in others.items():
        monkeypatch.setitem(sys.modules, name, other)
    for answer in ("first", "second"):
        (folder / "again.py").write_text(f"def subject():\n    return {answer!r}\n", "utf-8")
        with audited_code_forgotten():
            assert find_subject("again.py:subject", folder=folder)() == answer
        assert {name: sys.modules[name] for name in others} == others


def test_a_callable_that_takes_an_argument_gets_the_project():
    write("subject.py")

    assert built("subject.py:configured", {"model": {"preset": "tiny"}}).name == "tiny"


def test_what_a_callable_changes_in_the_project_is_undone_for_the_next_call():
    write("subject.py", SUBJECT + "def taking(config):\n    return Subject(print, [], name=config.pop('name'))")
    build = lazy_subject("subject.py:taking", folder=Path.cwd(), project={"name": "once"})

    assert [build().name, build().name] == ["once", "once"]


def test_a_changed_key_that_cannot_reach_the_callable_is_an_error():
    write("subject.py")

    with pytest.raises(
        SubjectError, match=r"'subject.py:plain' takes no argument, so that 'model.preset' cannot be set"
    ):
        built("subject.py:plain", changed=["model.preset"])


@pytest.mark.parametrize(
    ("signature", "told"),
    [("a, b", "takes (a, b), but gradaudit calls it with"), ("*, a", "takes (*, a), but gradaudit calls it with")],
)
def test_a_callable_that_takes_something_else_is_an_error(signature: str, told: str):
    assert told in complaint("subject.py:f", f"def f({signature}): pass")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", "returned None: it needs a `return`"),
        ("3", "returned an object of class int: return a gradaudit.Subject."),
        ("Model()", "returned an object of class Model: return gradaudit.Subject.from_keras(model, batch)."),
    ],
)
def test_what_is_no_subject_is_named(returned: str, told: str):
    model = "class Model:\n    def train_step(self): ...\n    def compute_loss(self): ...\n"

    assert told in complaint("subject.py:f", f"{model}def f():\n    return {returned}")


def test_a_subject_where_a_callable_belongs_is_named():
    told = complaint("subject.py:f", "from gradaudit import Subject\nf = Subject(print, [])")

    assert "'subject.py:f' is an object of class Subject, not a callable: name a function that returns" in told


# ------------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    "reference", ["subject", "subject.py", ":f", "a b:f", "a-b:f", "a:", "a:1", "a:b c", "file.py:"]
)
def test_a_reference_that_is_none_is_told_with_how_to_write_one(reference: str):
    with pytest.raises(SubjectError, match=r'write "package\.module:callable" or "path/to/file\.py:callable"'):
        check_reference(reference, folder=Path.cwd())


def test_a_missing_file_is_told_with_the_nearest():
    write("configs/subject.py")

    assert "no file" in complaint("nowhere/subject.py:f")
    assert "did you mean 'subject.py'?" in complaint("configs/subjects.py:f")


def test_a_missing_module_is_told_apart_from_one_that_it_needs():
    write("package/__init__.py", "")
    write("package/training.py", "import surely_not_installed\n")

    assert "There is no module 'pakage' for 'pakage.training': looked in" in complaint("pakage.training:f")
    assert "did you mean 'package'?" in complaint("pakage.training:f")
    assert "There is no module 'package.trainig'" in complaint("package.trainig:f")
    assert "did you mean 'training'?" in complaint("package.trainig:f")
    assert complaint("package.training:f") == (
        "The subject 'package.training:f' cannot be imported: ModuleNotFoundError at package/training.py:1: "
        "No module named 'surely_not_installed'"
    )


def test_a_missing_callable_is_told_with_the_nearest():
    assert complaint("subject.py:plane", SUBJECT) == "There is no 'plane' in subject.py; did you mean 'plain'?"


def test_an_error_during_the_import_is_the_users_own_with_its_line():
    told = complaint("subject.py:f", "x = 1\n\ny = x / 0\n")

    assert told == "The subject 'subject.py:f' cannot be imported: ZeroDivisionError at subject.py:3: division by zero"


def test_broken_python_is_told_with_its_line():
    told = complaint("subject.py:f", "x = 1\ny = = 2\n")

    assert told == "The subject 'subject.py:f' cannot be imported: SyntaxError at subject.py:2: invalid syntax"


def test_an_error_in_the_callable_is_told_with_the_innermost_line_of_the_users_own():
    # json stands for every library between the user's code and the error.
    told = complaint("subject.py:f", "import json\n\ndef inner():\n    json.loads('{')\n\ndef f():\n    inner()\n")

    assert told.startswith("The subject 'subject.py:f' failed: JSONDecodeError at subject.py:4 in inner: Expecting")


def test_a_script_that_ends_the_program_when_imported_is_told():
    told = complaint("subject.py:f", "import sys\nsys.exit(0)\n")

    assert "cannot be imported: it ends the program at subject.py:2, with sys.exit or the like." in told
    assert "Code that is to run as a script only belongs" in told


def test_an_error_of_gradaudits_own_goes_through_the_users_code():
    write("subject.py", "from gradaudit import ConfigError\ndef f():\n    raise ConfigError('unknown key')")
    write(
        "wrapped.py",
        "import subject\ndef f():\n    try:\n        subject.f()\n    except Exception as e:\n"
        "        raise RuntimeError('wrapped') from e",
    )

    for reference in ("subject:f", "wrapped:f"):
        with pytest.raises(ConfigError, match=r"^unknown key$"):
            built(reference)


def test_a_subject_is_what_the_callable_made():
    write("subject.py")

    assert isinstance(built("subject:plain"), Subject)
