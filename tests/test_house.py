"""The rules of the house that no linter knows: names, first lines, addresses, links, and pages that must keep up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gradaudit", "xtts")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

MEANINGLESS_NAMES = {"utils", "util", "helpers", "helper", "common", "types", "core", "misc"}
KERAS_NAMES = {"get_config", "get_build_config", "get_compile_config", "get_metrics_result"}
"""Methods that Keras calls by these names."""

STATUSES = {
    "connected",
    "participation-only",
    "zero-gradient",
    "disconnected",
    "untracked",
    "not-updated",
    "opaque",
    "frozen",
}


def tracked_files() -> list[Path]:
    """Files that git knows of or would take, or every file of an unpacked source distribution."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git work tree")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return None


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def package_trees() -> dict[Path, ast.Module]:
    return {
        path: ast.parse(path.read_text("utf-8"))
        for path in python_files()
        if path.relative_to(ROOT).parts[0] in PACKAGES
    }


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------------------------- files


def test_the_first_line_of_every_python_file_says_what_it_is_for():
    silent = [
        named(path)
        for path in python_files()
        if not re.match(r'r?"""\S', next(iter(path.read_text("utf-8").splitlines()), ""))
    ]
    assert not silent, f"their first line is no docstring: {silent}"


def test_no_module_has_a_name_that_means_nothing():
    nameless = [named(path) for path in python_files() if MEANINGLESS_NAMES & {path.stem, path.parent.name}]
    assert not nameless, f"name them after what they do: {nameless}"


def test_no_function_is_called_get_or_do_and_no_class_manager():
    vague = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path, tree in package_trees().items()
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and re.match(r"_*(get|do)_", node.name)
            and node.name not in KERAS_NAMES
        )
        or (isinstance(node, ast.ClassDef) and node.name.endswith("Manager"))
    ]
    assert not vague, f"say what they return or do: {vague}"


def test_no_file_names_a_place_on_somebodys_machine_or_a_registry():
    folders = "|".join(["home", "root", "Users", "work", "opt", "mnt", "private"])
    registries = "|".join(re.escape(name) for name in ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org"))
    options = "|".join(["--index" + "-url", "--extra-index" + "-url", "--find" + "-links"])
    place = re.compile(rf"(?<![\w.<>)}}-])/(?:{folders})/[\w.-]+|file:/{{2}}/|{registries}|{options}")
    found = [
        f"{named(path)}:{number} {match.group()}"
        for path in tracked_files()
        if (text := text_of(path)) is not None
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := place.search(line))
    ]
    assert not found, f"true on one machine only: {found}"


# ------------------------------------------------------------------------------------------------------------- packages


def test_gradaudit_offers_these_names_and_no_others():
    import gradaudit

    assert gradaudit.__all__ == [
        "Audit",
        "AuditCallback",
        "ConfigError",
        "DisagreementError",
        "GateError",
        "GradauditError",
        "OutputError",
        "Subject",
        "SubjectError",
        "TraceError",
        "audit",
    ]
    assert all(hasattr(gradaudit, name) for name in gradaudit.__all__)


def test_importing_gradaudit_loads_no_tensorflow():
    # What answers at once (help, explanations of rules, reading a config) must not wait for TensorFlow.
    program = "import sys, gradaudit, gradaudit.cli; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["False", "False"]


# ---------------------------------------------------------------------------------------------------------------- pages


def test_every_relative_link_of_every_page_leads_somewhere():
    broken = [
        f"{named(page)}: {target}"
        for page in tracked_files()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken, f"broken links: {broken}"


def test_the_readme_explains_every_status():
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = {status for status in STATUSES if f"| `{status}`" not in readme}
    assert not missing, f"not in the table of statuses: {missing}"


def test_the_readme_maps_every_room_of_both_packages():
    readme = (ROOT / "README.md").read_text("utf-8")
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if (path.is_dir() and any(path.rglob("*.py"))) or (path.suffix == ".py" and path.name != "__init__.py")
    }
    missing = {room for room in rooms if not re.search(rf"(?<![\w/]){re.escape(room)}(?!\w)", readme)}
    assert not missing, f"not on the map of the code: {sorted(missing)}"


def test_decisions_are_numbered_without_a_gap_and_listed():
    records = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")
    assert not [name for name in records if name not in index]


def test_the_changelog_tells_of_this_version():
    assert f"## {PYPROJECT['project']['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# ----------------------------------------------------------------------------------------------------------------- pins


def test_the_lock_pins_what_pyproject_asks_for():
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.MULTILINE)
    extras = PYPROJECT["project"]["optional-dependencies"]
    asked = [*PYPROJECT["project"]["dependencies"], *extras["cpu"], *extras["plot"], *extras["xtts"], *extras["dev"]]
    unmet = [
        need
        for need in asked
        if not any(
            name == canonicalize_name(Requirement(need).name) and Requirement(need).specifier.contains(version)
            for name, version in pins
        )
    ]
    assert not unmet, f"run `make lock`: {unmet}"


def test_every_pin_has_a_hash():
    entries = re.split(r"^(?=\S)", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.MULTILINE)
    bare = [entry.split()[0] for entry in entries if "==" in entry.split("\n")[0] and "--hash=sha256:" not in entry]
    assert not bare
