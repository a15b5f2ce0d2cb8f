"""What a project says of its training in contracts, and what becomes of one that is broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.gate.policy import Policy
from gradaudit.gating import Gate, gated
from gradaudit.graph.contracts import Contract
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Finding
from tests.cases.case import DATA, apply, weight
from tests.gradaudit.conftest import Command


def vector_quantizer() -> Subject:
    """An encoder, a codebook and a decoder; a commitment term trains the codebook, the reconstruction does not."""
    encoder, codebook, decoder, spare = (weight(name) for name in ("encoder", "codebook", "decoder", "spare"))

    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            latent = x @ encoder
            entries = tf.gather(codebook, tf.argmax(latent, axis=-1))
            with tf.name_scope("reconstruction"):
                straight = latent + tf.stop_gradient(entries - latent)
                loss = tf.reduce_mean(tf.square(straight @ decoder - x))
            with tf.name_scope("commitment"):
                loss += 0.25 * tf.reduce_mean(tf.square(entries - tf.stop_gradient(latent)))
        weights = [encoder, codebook, decoder, spare]
        apply(tape.gradient(loss, weights), weights)

    return Subject(step, [DATA], variables=[encoder, codebook, decoder, spare])


def held(*contracts: Contract, subject: Callable[[], Subject] = vector_quantizer) -> Audit:
    return audit(subject, contracts=contracts)


def broken(result: Audit) -> list[Finding]:
    return [finding for finding in result.findings if finding.rule[:3] in ("GA2", "GA3") and finding.fails]


def said(result: Audit) -> list[tuple[str, str]]:
    return [(finding.rule, finding.message) for finding in broken(result)]


@pytest.mark.parametrize(
    "contract",
    [
        Contract("must-train", ("encoder", "?ecoder")),
        Contract("must-train", ("codebook",), term="commit*"),
        Contract("must-not-flow", ("codebook",), term="reconstruction"),
        Contract("frozen", ("spare",)),
        Contract("may-be-disconnected", ("spare",), reason="comes with the next stage"),
    ],
    ids=lambda contract: contract.kind,
)
def test_a_contract_that_is_kept_says_nothing(contract: Contract) -> None:
    assert said(held(contract)) == []


def test_a_gradient_that_must_not_flow_is_told_with_its_way() -> None:
    result = held(Contract("must-not-flow", ("codebook", "decoder"), term="reconstruction"))
    (rule, message), *others = said(result)
    assert (rule, others) == ("GA203", [])
    assert "a gradient flows from reconstruction to decoder, by way of reconstruction > decoder" in message
    (finding,) = broken(result)
    assert finding.variables == ("decoder",)
    assert finding.chain[0] == "term:loss/reconstruction"
    assert finding.chain[-1] == "variable:decoder"
    assert all(
        result.graph.edges[edge]["flow"] == "passes" for edge in zip(finding.chain, finding.chain[1:], strict=False)
    )


def test_what_must_train_and_does_not_is_told_with_the_reason() -> None:
    (told,) = said(held(Contract("must-train", ("*",))))
    assert told[0] == "GA204"
    assert "spare is disconnected: no op of the step reads it" in told[1]


def test_what_must_train_by_another_term_is_told_with_those_that_train_it() -> None:
    (told,) = said(held(Contract("must-train", ("codebook",), term="reconstruction")))
    assert told[0] == "GA204"
    assert "codebook gets a gradient from commitment alone, by way of commitment > codebook" in told[1]


def test_what_must_be_frozen_and_is_updated_is_told() -> None:
    (told,) = said(held(Contract("frozen", ("codebook", "spare"))))
    assert told[0] == "GA205"
    assert "the step updates codebook, by way of commitment > codebook" in told[1]


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (
            Contract("must-train", ("codebok",)),
            "no variable that is audited matches 'codebok'; did you mean 'codebook'?",
        ),
        (Contract("must-train", ("codebook",), term="commitmant"), "no loss term matches 'commitmant'"),
        (Contract("may-be-disconnected", ("head/*",), reason="later"), "no variable that is audited matches 'head/*'"),
    ],
)
def test_a_contract_that_matches_nothing_is_an_error(contract: Contract, message: str) -> None:
    told = said(held(contract))
    assert message in next(text for rule, text in told if rule == "GA301")


def test_brackets_in_a_pattern_stand_for_themselves() -> None:
    def subject() -> Subject:
        named = weight("w[0]")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(x @ named)
            apply(tape.gradient(loss, [named]), [named])

        return Subject(step, [DATA], variables=[named])

    assert said(held(Contract("must-train", ("w[0]",)), subject=subject)) == []


def test_what_may_be_disconnected_fails_no_run() -> None:
    plain, excused = held(), held(Contract("may-be-disconnected", ("spare",), reason="comes with the next stage"))
    for result, fails in ((plain, True), (excused, False)):
        (judged,) = gated([result], [Gate()])
        (finding,) = [finding for finding in judged.findings if finding.rule == "GA101"]
        assert (finding.variables, finding.fails) == (("spare",), fails)
    assert {verdict.path: verdict.excuse for verdict in excused.variables}["spare"] == "comes with the next stage"


def test_a_gradient_that_is_never_applied_trains_nothing() -> None:
    def subject() -> Subject:
        used, idle = weight("used"), weight("idle")

        def step(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(x @ used @ idle)
            gradients = tape.gradient(loss, [used, idle])
            apply(gradients[:1], [used])

        return Subject(step, [DATA], variables=[used, idle])

    (told,) = said(held(Contract("must-train", ("*",)), subject=subject))
    assert "idle is not-updated: its gradient is never applied" in told[1]


def test_contracts_fail_no_run_that_nothing_fails() -> None:
    (judged,) = gated([held(Contract("must-train", ("*",)))], [Gate(Policy(()))])
    assert broken(judged) == []
    assert "GA204" in [finding.rule for finding in judged.findings]


# ---------------------------------------------------------------------------------------------------------- the command

CONFIG = """
[gradaudit]
subject = "quantizer.py:vector_quantizer"

[[gradaudit.must-train]]
variables = ["codebook"]
by = "commitment"

[[gradaudit.must-not-flow]]
term = "reconstruction"
variables = ["codebook"]

[[gradaudit.may-be-disconnected]]
variables = ["spare"]
reason = "comes with the next stage"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "quantizer.py").write_text("from tests.gradaudit.test_contracts import vector_quantizer\n")
    (tmp_path / "gradaudit.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_step_that_keeps_its_contracts_passes(folder: Path, command: Command) -> None:
    ended = command("trace")
    assert (ended.status, ended.messages) == (0, "")
    assert "accepted    comes with the next stage (a may-be-disconnected contract)" in ended.output


def test_a_broken_contract_fails_the_run_with_its_evidence(folder: Path, command: Command) -> None:
    with (folder / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.frozen]]\nvariables = ["encoder"]\n')
    ended = command("trace")
    assert ended.status == 1
    assert ended.messages == "gradaudit: The gate fails: 1 broken contract (GA205).\n"
    assert "GA205" in ended.output
    assert re.search(
        r"frozen encoder +error  GA205\n +broken +the step updates encoder\n +way +.* > encoder", ended.output
    )
    (found,) = json.loads(command("trace", "--format", "json").output)["audits"]
    (finding,) = [finding for finding in found["findings"] if finding["rule"] == "GA205"]
    assert finding["severity"] == "error"
    assert finding["chain"][-1] == "variable:encoder"
    assert command("trace", "--fail-on", "none").status == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[gradaudit.must-train]]\nvariable = ["a"]\n',
            "[[gradaudit.must-train]] number 2 has an unknown key 'variable'",
        ),
        ("[[gradaudit.frozen]]\n", "[[gradaudit.frozen]] number 1 has no 'variables'."),
        ("[[gradaudit.frozen]]\nvariables = []\n", "[[gradaudit.frozen]] number 1 variables: should name one at least"),
        ('[[gradaudit.must-not-flow]]\nvariables = ["a"]\n', "[[gradaudit.must-not-flow]] number 2 has no 'term'."),
        (
            '[[gradaudit.may-be-disconnected]]\nvariables = ["a"]\n',
            "[[gradaudit.may-be-disconnected]] number 2 has no 'reason'.",
        ),
    ],
    ids=["unknown", "missing", "empty", "no term", "no reason"],
)
def test_a_mistake_in_a_contract_is_told(folder: Path, command: Command, text: str, message: str) -> None:
    with (folder / "gradaudit.toml").open("a") as file:
        file.write(text)
    ended = command("trace")
    assert ended.status == 2
    assert message in ended.messages
