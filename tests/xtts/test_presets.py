"""Each preset has the size that the documentation says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tensorflow as tf

from xtts.models.xtts import XTTS
from xtts.presets import PRESETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "xtts" / "model.md"
DECODERS = ("autoregressive", "parallel", "diffusion")


def measured_parameters(preset: str, decoder: str) -> int:
    # In a graph of its own a variable is a description: `large` takes no memory here.
    with tf.Graph().as_default():
        model = XTTS.from_preset(preset, decoder=decoder, aligned=True)
        model.build()
        return sum(variable.value.shape.num_elements() for variable in model.trainable_variables)


def documented_parameters() -> dict[tuple[str, str], int]:
    line = r"^\| `(\w+)` \|.*?" + len(DECODERS) * r"\| ([\d,]+) " + r"\|$"
    rows = re.findall(line, PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return {
        (preset, decoder): int(count.replace(",", ""))
        for preset, *counts in rows
        for decoder, count in zip(DECODERS, counts, strict=True)
    }


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_as_many_parameters_as_documented(preset, decoder):
    assert measured_parameters(preset, decoder) == documented_parameters()[preset, decoder]


def test_sizes_are_what_their_names_promise():
    sizes = {preset: count for (preset, decoder), count in documented_parameters().items()}
    assert sizes["tiny"] < 1e6
    assert 9e6 < sizes["small"] < 11e6
    assert 75e6 < sizes["base"] < 85e6
    assert sizes["large"] > 400e6


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no preset 'huge'; the presets are tiny, small, base, large"):
        XTTS.from_preset("huge")
