"""The op graph of XTTS's real step: where the way to a variable ends, what stands in a layer, and how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradaudit import audit
from gradaudit.config import read_project
from gradaudit.graph.report import Audit
from gradaudit.reports.op_flows import OpFlows
from gradaudit.reports.op_sketch import OpSketch, sketch_ops
from gradaudit.reports.op_view import OP_LIMIT
from xtts.subject import subject

SEED_CONFIG = Path(__file__).resolve().parents[1] / "xtts" / "configs" / "seed.toml"
KERNEL = "xtts/mel_decoder/pitch_projection/kernel"


@pytest.fixture(scope="module")
def seed() -> Audit:
    project = read_project(SEED_CONFIG, "minimal-unpatched")
    return audit(lambda: subject(project), scenario="minimal-unpatched")


def arrows(content: OpSketch, kind: str) -> set[str]:
    names = {box.key: box.title for box in content.boxes}
    return {f"{names[arrow.tail]} > {names[arrow.head]}" for arrow in content.arrows if arrow.kind == kind}


def test_the_way_to_the_pitch_head_ends_at_the_stop_gradient_and_in_an_output_that_nobody_reads(seed: Audit):
    content = sketch_ops(OpFlows(seed), focus=KERNEL)
    assert arrows(content, "blocked") == {"StopGradient > ConcatV2", "no loss term reads it > pitch_output"}
    assert {"loss > mel", "MatMul > kernel"} <= arrows(content, "gradient") | arrows(content, "none")
    (stop,) = (box for box in content.boxes if box.is_break)
    assert stop.details[0].startswith("frame_decoder.py:")
    assert len(content.boxes) < 20


def test_around_the_decoder_its_broken_heads_are_open_and_its_blocks_are_one_box(seed: Audit):
    content = sketch_ops(OpFlows(seed), around="xtts/mel_decoder")
    titles = [box.title for box in content.boxes]
    assert titles.count("kernel") == 2
    assert "block_0 … block_5" in titles
    assert [box.title for box in content.boxes if box.is_break] == ["StopGradient", "StopGradient"]
    assert len(content.boxes) <= OP_LIMIT
    (clause,) = content.left_out
    assert "more ops of" in clause


def test_the_whole_step_shows_each_of_the_four_dead_ends(seed: Audit):
    content = sketch_ops(OpFlows(seed))
    assert {arrow.partition(" > ")[2] for arrow in arrows(content, "blocked") if arrow.startswith("no loss")} == {
        "duration_pred",
        "prosody_pitch",
        "prosody_energy",
        "prosody_speaking_rate",
        "pitch_output",
        "energy_output",
    }


def test_every_variable_of_the_step_can_be_drawn(seed: Audit):
    flows = OpFlows(seed)
    for verdict in seed.variables[::9]:
        content = sketch_ops(flows, focus=verdict.path)
        assert [box.title for box in content.boxes if box.is_focus] == [verdict.path.rpartition("/")[2]]
        assert len(content.boxes) <= OP_LIMIT
