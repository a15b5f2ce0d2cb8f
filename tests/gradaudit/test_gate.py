"""The gate: severities, what a project accepts in its config, its code and its baseline, and what accepts nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gradaudit.conftest import Command, Ended

HALF = """
targets = ["left"]

[gradaudit]
subject = "toy.py:subject"
"""


@pytest.fixture
def half(toy: Path) -> Callable[..., None]:
    """Writes a config in which the loss reads the left head alone, with these lines more."""

    def write(more: str = "") -> None:
        (toy / "gradaudit.toml").write_text(HALF + more)

    write()
    return write


def found(ended: Ended) -> list[dict[str, Any]]:
    (audit,) = json.loads(ended.output)["audits"]
    findings: list[dict[str, Any]] = audit["findings"]
    return findings


def comment(toy: Path, text: str) -> None:
    """Put a comment on the line that makes the heads."""
    code = (toy / "toy.py").read_text()
    line = next(line for line in code.splitlines() if "name=head" in line)
    (toy / "toy.py").write_text(code.replace(line, f"{line}  # {text}"))


# ----------------------------------------------------------------------------------------------------------- severities


def test_a_rule_that_is_no_error_fails_no_run(half: Callable[..., None], command: Command) -> None:
    assert command("trace").status == 1
    half('[gradaudit.severity]\nGA101 = "warning"\n')
    ended = command("trace", "--format", "json")
    assert (ended.status, ended.messages) == (0, "")
    assert [(each["rule"], each["severity"]) for each in found(ended)] == [("GA101", "warning")]
    assert command("trace", "--fail-on", "disconnected").status == 1


def test_a_rule_that_is_off_says_nothing(half: Callable[..., None], command: Command) -> None:
    half('[gradaudit.severity]\nGA101 = "off"\n')
    ended = command("trace")
    assert ended.status == 0
    assert "GA101" not in ended.output
    assert "2 disconnected" in ended.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[gradaudit.severity]\nGA1O1 = "off"\n', "'GA1O1' is no rule; did you mean 'GA101'?"),
        (
            '[gradaudit.severity]\nGA101 = "fatal"\n',
            "GA101 = 'fatal' is no severity; they are: error,",
        ),
        (
            '[[gradaudit.suppress]]\nrule = "GA999"\nreason = "x"\n',
            "number 1: 'GA999' is no rule",
        ),
        ('[[gradaudit.suppress]]\nrule = "GA101"\n', "[[gradaudit.suppress]] number 1 has no 'reason'"),
        ('[[gradaudit.suppress]]\nrule = 3\nreason = "x"\n', "[[gradaudit.suppress]] number 1 rule: should be a list"),
    ],
)
def test_a_mistake_is_told(half: Callable[..., None], command: Command, text: str, message: str) -> None:
    half(text)
    ended = command("trace")
    assert ended.status == 2
    assert message in ended.messages


@pytest.mark.usefixtures("half")
def test_a_listed_status_without_a_rule_of_its_own_fails_the_run_in_every_format(toy: Path, command: Command) -> None:
    files = {"json": "a.json", "markdown": "a.md", "sarif": "a.sarif", "junit": "a.xml", "github": "a.txt"}
    arguments = [each for form, file in files.items() for each in ("--format", form, "--output", file)]
    ended = command("trace", "--fail-on", "connected", "--report", "pages", "--format", "text", *arguments)
    assert (ended.status, ended.messages) == (1, "gradaudit: The gate fails: 4 connected.\n")
    assert "4 variables, connected  GA302" in ended.output
    written = {form: (toy / file).read_text() for form, file in files.items()}
    (finding,) = [each for each in json.loads(written["json"])["audits"][0]["findings"] if each["severity"] == "error"]
    assert (finding["rule"], finding["message"]) == (
        "GA302",
        "variable of a status that fails the run: fail-on lists connected",
    )
    assert "4 variables, connected (GA302, error)" in written["markdown"]
    levels = [(each["ruleId"], each["level"]) for each in json.loads(written["sarif"])["runs"][0]["results"]]
    assert ("GA302", "error") in levels
    assert written["junit"].count('type="GA302" message="') == 4
    assert "::error title=GA302" in written["github"]
    assert "fail-on lists connected" in (toy / "pages" / "report.html").read_text()


@pytest.mark.usefixtures("half")
def test_a_baseline_knows_what_fails_for_its_status_too(command: Command) -> None:
    assert command("trace", "--fail-on", "connected").status == 1
    Path("gradaudit.toml").write_text(HALF.replace("[gradaudit]", '[gradaudit]\nfail-on = ["connected"]'))
    command("baseline", "write")
    assert command("trace", "--baseline", "gradaudit-baseline.json").status == 0


# --------------------------------------------------------------------------------------------------------- suppressions


def test_what_the_config_accepts_fails_no_run_and_is_told_with_its_reason(
    half: Callable[..., None], command: Command
) -> None:
    half('[[gradaudit.suppress]]\nrule = "GA101"\nvariables = ["*right*"]\nreason = "no targets yet"\n')
    ended = command("trace", "--format", "text", "--format", "json", "--output", "report.json")
    assert ended.status == 0
    assert "accepted    no targets yet (the config's suppress)" in ended.output
    (finding,) = json.loads(Path("report.json").read_text())["audits"][0]["findings"]
    assert finding["suppressions"] == [
        {"kind": "config", "reason": "no targets yet", "variables": ["right/kernel", "right/bias"]}
    ]


def test_what_is_accepted_for_some_variables_fails_for_the_others(half: Callable[..., None], command: Command) -> None:
    half('[[gradaudit.suppress]]\nrule = ["GA101"]\nvariables = ["right/bias"]\nreason = "small"\n')
    ended = command("trace")
    assert ended.status == 1
    assert "The gate fails: 1 disconnected." in ended.messages
    assert "small (the config's suppress) for 1 variable" in ended.output


@pytest.mark.parametrize("about", ['variables = ["nothing/*"]', 'about = ["nothing"]'])
def test_what_accepts_nothing_is_an_error(half: Callable[..., None], command: Command, about: str) -> None:
    half(f'[[gradaudit.suppress]]\nrule = "GA101"\n{about}\nreason = "x"\n')
    ended = command("trace", "--format", "json")
    assert ended.status == 1
    assert "2 disconnected, 1 GA301" in ended.messages
    assert "it accepts no finding (suppress GA101 nothing" in found(ended)[-1]["message"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('rule = ["GA101", "GA106"]', "it accepts no finding of GA106"),
        ('rule = "GA101"\nvariables = ["right/*", "gone/*"]', "it accepts no finding that matches 'gone/*'"),
        (
            'rule = "GA101"\nabout = ["*dead-end*", "gone"]',
            "it accepts no finding that matches 'gone'",
        ),
    ],
)
def test_a_part_of_an_entry_that_accepts_nothing_is_named(
    half: Callable[..., None], command: Command, entry: str, told: str
) -> None:
    half(f'[[gradaudit.suppress]]\n{entry}\nreason = "x"\n')
    ended = command("trace", "--format", "json")
    assert ended.messages == "gradaudit: The gate fails: 1 GA301.\n"
    assert told in found(ended)[-1]["message"]


def test_what_accepts_nothing_can_be_accepted_itself(half: Callable[..., None], command: Command) -> None:
    idle = '[[gradaudit.suppress]]\nrule = "GA101"\nvariables = ["right/*", "gone/*"]\nreason = "x"\n'
    half(f'{idle}[[gradaudit.suppress]]\nrule = "GA301"\nabout = ["suppress GA101 *"]\nreason = "it comes back"\n')
    ended = command("trace", "--format", "json")
    assert ended.status == 0
    assert found(ended)[-1]["suppressions"] == [{"kind": "config", "reason": "it comes back", "variables": []}]


def test_what_accepts_nothing_of_ga301_accepts_not_itself(half: Callable[..., None], command: Command) -> None:
    half('[[gradaudit.suppress]]\nrule = ["GA101", "GA301"]\nreason = "x"\n')
    ended = command("trace", "--format", "json")
    assert ended.messages == "gradaudit: The gate fails: 1 GA301.\n"
    assert "it accepts no finding of GA301 (suppress GA101, GA301)" in found(ended)[-1]["message"]


def test_a_contract_has_to_match_something_in_one_scenario(toy: Path, command: Command) -> None:
    code = (
        (toy / "toy.py").read_text().replace("Dense(8)(inputs)", 'Dense(8, name=config.get("trunk", "trunk"))(inputs)')
    )
    (toy / "toy.py").write_text(code)
    config = (toy / "gradaudit.toml").read_text()
    contract = '[[gradaudit.may-be-disconnected]]\nvariables = ["other/*", "right/*"]\nreason = "later"\n'
    (toy / "gradaudit.toml").write_text(config + contract)
    ended = command("trace")
    assert ended.status == 1
    assert "GA301" in ended.output
    config = config.replace('name = "both"', 'name = "both"\nset = { trunk = "other" }')
    (toy / "gradaudit.toml").write_text(config + contract)
    assert command("trace").status == 0
    assert command("trace", "--scenario", "one").status == 0


def test_what_accepts_something_in_one_scenario_is_of_use(toy: Path, command: Command) -> None:
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.suppress]]\nrule = "GA101"\nreason = "x"\n')
    assert command("trace").status == 0
    assert command("trace", "--scenario", "both").status == 0


# ------------------------------------------------------------------------------------------------------------- comments


@pytest.mark.usefixtures("half")
def test_a_comment_on_the_line_that_makes_a_layer_accepts_its_findings(toy: Path, command: Command) -> None:
    comment(toy, "gradaudit: ignore[GA101] no targets yet")
    ended = command("trace", "--format", "json")
    assert ended.status == 0
    assert [each["kind"] for each in found(ended)[0]["suppressions"]] == ["comment"]


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gradaudit: ignore[GA101]", "it gives no reason, and accepts nothing"),
        ("gradaudit: ignore[GA999] why", "GA999 is no rule"),
        ("gradaudit: ignore[GA102] why", "nothing is found here by GA102"),
    ],
)
def test_a_comment_that_accepts_nothing_is_an_error(toy: Path, command: Command, text: str, message: str) -> None:
    comment(toy, text)
    ended = command("trace", "--format", "json")
    assert ended.status == 1
    (unmatched,) = [each for each in found(ended) if each["rule"] == "GA301"]
    assert message in unmatched["message"]
    assert unmatched["sources"][0]["file"] == "toy.py"


BUILT_BY = """
import keras
import tensorflow as tf
from gradaudit import Subject

class Toy(keras.Model):
    def __init__(self, with_pitch=False):
        super().__init__(name="toy")
        {plain}
        if with_pitch:
            self.pitch = 0  # gradaudit: ignore[GA101] in a branch
        self.more = keras.layers.Dense(1, name="more") if with_pitch else 0  # gradaudit: ignore[GA101] a condition
        self.used = keras.layers.Dense(1, name="used")
        self.last = 0  # gradaudit: ignore[GA101] after all that is seen

    def call(self, x):
        return self.used(x)

    def other(self):
        self.pitch = 0  # gradaudit: ignore[GA101] in a function that does not run

def subject():
    model = Toy()
    model.compile("adam", loss="mse")
    return Subject.from_keras(model, (tf.TensorSpec((2, 4)), tf.TensorSpec((2, 1))))
"""


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ("self.pitch = 0  # gradaudit: ignore[GA101] gone", "toy.py:9"),
        ("# gradaudit: ignore[GA101] gone\n        # with more words\n        self.pitch = 0", "toy.py:9"),
        ("self.make = lambda: 0  # gradaudit: ignore[GA101] not run", None),
    ],
)
def test_a_comment_where_nothing_is_made_any_more_is_an_error_if_its_line_has_run(
    toy: Path, command: Command, plain: str, told: str | None
) -> None:
    (toy / "toy.py").write_text(BUILT_BY.replace("{plain}", plain))
    (toy / "gradaudit.toml").write_text('[gradaudit]\nsubject = "toy.py:subject"\n')
    idle = [each for each in found(command("trace", "--format", "json")) if each["rule"] == "GA301"]
    assert [each["message"].rpartition(" at ")[2].rstrip(")") for each in idle] == ([told] if told else [])


LISTED = """
import keras
import tensorflow as tf
from gradaudit import Subject

def subject():
    inputs = keras.Input((4,))
    heads = [
        # said of the next line alone
        # gradaudit: ignore[ga101]: no targets yet
        keras.layers.Dense(1, name="left"),
        keras.layers.Dense(
            1,
            name="right",
        ),
        keras.layers.Dense(1, name="used"),
    ]
    left, right, used = [head(inputs) for head in heads]  # gradaudit: ignore[GA101] not where a layer is made
    model = keras.Model(inputs, {"left": left, "right": right, "used": used}, name="toy")
    model.compile("adam", loss={"used": "mse"})
    return Subject.from_keras(model, (tf.TensorSpec((2, 4)), {"used": tf.TensorSpec((2, 1))}))
"""


def test_a_comment_is_about_one_layer_of_a_list(toy: Path, command: Command) -> None:
    (toy / "listed.py").write_text(LISTED)
    ended = command("trace", "listed.py:subject", "--format", "json")
    assert ended.status == 1
    accepted = [path for each in found(ended) for said in each["suppressions"] for path in said["variables"]]
    assert accepted == ["left/kernel", "left/bias"]
    assert "GA301" not in [each["rule"] for each in found(ended)]  # one subject does not tell what others need


def test_what_waits_in_another_scenario_that_failed_is_no_error(toy: Path, command: Command) -> None:
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "broken"\nset = { targets = ["middle"] }\n')
        file.write('[[gradaudit.suppress]]\nrule = "GA101"\nvariables = ["middle/*"]\nreason = "x"\n')
    ended = command("trace", "--scenario", "both", "--scenario", "one", "--scenario", "broken", "--format", "json")
    assert ended.status == 2
    assert "GA301" not in ended.output


# ------------------------------------------------------------------------------------------------------------- baseline


@pytest.mark.usefixtures("half")
def test_what_the_baseline_knows_fails_no_run(toy: Path, command: Command) -> None:
    ended = command("baseline", "write")
    assert (ended.status, ended.output) == (0, "")
    assert "2 entries written to" in ended.messages
    assert command("trace").status == 1
    assert command("trace", "--baseline", "gradaudit-baseline.json").status == 0
    entries = json.loads((toy / "gradaudit-baseline.json").read_text())["entries"]
    assert [(each["rule"], each["variable"]) for each in entries] == [
        ("GA101", "right/bias"),
        ("GA101", "right/kernel"),
    ]


def test_only_what_is_new_fails_with_a_baseline(half: Callable[..., None], command: Command) -> None:
    more = 'baseline = "known.json"\n'
    half(more)
    assert command("baseline", "write").status == 0
    assert command("trace").status == 0
    half(f'{more}[[gradaudit.frozen]]\nvariables = ["left/*"]\n')
    ended = command("trace")
    assert ended.status == 1
    assert ended.messages == "gradaudit: The gate fails: 1 broken contract (GA205).\n"


def test_a_line_that_moves_breaks_no_baseline(half: Callable[..., None], toy: Path, command: Command) -> None:
    half('baseline = "known.json"\n')
    command("baseline", "write")
    code = (toy / "toy.py").read_text()
    (toy / "toy.py").write_text(code.replace("import keras", "\n\n\nimport keras"))
    assert command("trace").status == 0


def test_one_more_dead_head_is_all_that_is_new(toy: Path, command: Command) -> None:
    three = (
        (toy / "toy.py")
        .read_text()
        .replace('heads = ("left", "right")', 'heads = config.get("heads", ("left", "right"))')
    )
    (toy / "toy.py").write_text(three)
    (toy / "gradaudit.toml").write_text(HALF.replace("[gradaudit]", "[gradaudit]\nbaseline = 'known.json'"))
    command("baseline", "write")
    ended = command("trace", "--set", 'heads=["left", "right", "third"]')
    assert ended.messages == "gradaudit: The gate fails: 2 disconnected.\n"


def test_a_baseline_that_cannot_be_read_is_written_anew(half: Callable[..., None], toy: Path, command: Command) -> None:
    (toy / "gradaudit-baseline.json").write_text("<<<<<<< HEAD")
    ended = command("baseline", "write")
    assert ended.status == 0
    assert "What it held is lost" in ended.messages
    assert command("trace", "--baseline", "gradaudit-baseline.json").status == 0


def test_an_entry_that_nothing_answers_to_any_more_is_an_error(half: Callable[..., None], command: Command) -> None:
    half('baseline = "known.json"\n')
    command("baseline", "write")
    ended = command("trace", "--set", 'targets=["left", "right"]')
    assert ended.status == 1
    assert "2 GA301" in ended.messages
    assert "nothing is found that it knows: write the baseline anew" in ended.output


def test_a_baseline_of_one_scenario_leaves_the_others_as_they_are(toy: Path, command: Command) -> None:
    with (toy / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "other"\nset = { targets = ["right"] }\n')
    command("baseline", "write")
    before = (toy / "gradaudit-baseline.json").read_text()
    command("baseline", "write", "--scenario", "one")
    assert (toy / "gradaudit-baseline.json").read_text() == before
    assert command("trace", "--baseline", "gradaudit-baseline.json").status == 0
    assert command("trace", "--baseline", "gradaudit-baseline.json", "--scenario", "both").status == 0


@pytest.mark.usefixtures("half")
def test_nothing_is_written_where_not_all_can_be_audited(toy: Path, command: Command) -> None:
    ended = command("baseline", "write", "--set", 'targets=["middle"]')
    assert ended.status == 2
    assert not (toy / "gradaudit-baseline.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no baseline known.json. Write it: gradaudit baseline write --output known.json"),
        ("{", "The baseline known.json cannot be read"),
        ('{"schema": "other"}', "known.json is no baseline"),
        ('{"schema": "gradaudit.baseline/1", "entries": [{}]}', "an entry lacks what every entry has"),
    ],
)
def test_a_broken_baseline_is_told(
    half: Callable[..., None], toy: Path, command: Command, content: str | None, message: str
) -> None:
    if content is not None:
        (toy / "known.json").write_text(content)
    ended = command("trace", "--baseline", "known.json")
    assert (ended.status, ended.output) == (2, "")
    assert message in ended.messages


# -------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.usefixtures("half")
def test_several_formats_go_each_to_its_own_file(toy: Path, command: Command) -> None:
    ended = command(
        *("trace", "--format", "sarif", "--output", "a.sarif", "--format", "text"),
        *("--output", "b.md", "--format", "markdown", "--format", "junit", "--output", "c.xml", "--format", "github"),
    )
    assert ended.status == 2
    assert "--format markdown and github would go to standard output together" in ended.messages
    ended = command(
        *("trace", "--output", "b.md", "--format", "markdown", "--format", "sarif", "--output", "a.sarif"),
        *("--format", "github"),
    )
    assert ended.status == 1
    assert ended.output.startswith("::error ")
    assert (toy / "b.md").read_text().startswith("## ")
    assert json.loads((toy / "a.sarif").read_text())["version"] == "2.1.0"


@pytest.mark.usefixtures("half")
def test_a_dash_is_standard_output(toy: Path, command: Command) -> None:
    ended = command("trace", "--format", "json", "--output", "-", "--format", "sarif", "--output", "a.sarif")
    assert [each["rule"] for each in found(ended)] == ["GA101"]
    assert command("diff", "a.json", "a.json", "--output", "-").status == 2
    (toy / "a.json").write_text(ended.output)
    assert command("diff", "a.json", "a.json", "--output", "-").output == "Nothing changed\n"
    assert command("graph", "--output", "-").output.startswith("strict digraph")
    ended = command("baseline", "write", "--output", "-")
    assert len(json.loads(ended.output)["entries"]) == 2
    assert ended.messages == "gradaudit: 2 entries written to standard output.\n"
    ended = command("trace", "--format", "json", "--output", "-", "--format", "sarif")
    assert "--format json and sarif would go to standard output together" in ended.messages
    assert not (toy / "-").exists()


@pytest.mark.usefixtures("half")
def test_reports_go_to_where_the_command_was_given_wherever_the_subject_goes(toy: Path, command: Command) -> None:
    (toy / "elsewhere").mkdir()
    code = (toy / "toy.py").read_text().replace("import keras", 'import os; os.chdir("elsewhere")\nimport keras', 1)
    (toy / "toy.py").write_text(code)
    comment(toy, "gradaudit: ignore[GA101] said in toy.py")
    ended = command("trace", "--report", "pages", "--format", "json", "--output", "a.json")
    assert ended.status == 0, ended.messages
    assert list((toy / "elsewhere").iterdir()) == []
    assert (toy / "pages" / "report.html").is_file()
    assert (toy / "a.json").is_file()


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "a", "--output", "b", "--format", "json"), "--output b has no --format of its own"),
        (("--format", "json", "--output", "a", "--format", "sarif", "--output", "a"), "--output a is named twice"),
    ],
)
def test_a_file_without_a_format_of_its_own_is_refused(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    ended = command("trace", *arguments)
    assert (ended.status, ended.output) == (2, "")
    assert message in ended.messages
