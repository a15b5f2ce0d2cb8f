"""Pictures of what a model says of a batch: the mel as it is and as predicted, and which token each frame looks at."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xtts.models.xtts import XTTS
from xtts.training.looking import looked_at

PIXELS = (640, 560)
"""Width and height of a picture."""

_ROWS = 4
_DOTS_PER_INCH = 80


@dataclass(frozen=True)
class Sight:
    """What there is to see of one utterance, without padding.

    Attributes:
        target: the mel as it is, `(frames, channels)`.
        prediction: the mel as predicted, likewise.
        alignment: mean weight, over blocks and heads of the decoder, of each token for each frame, `(frames, tokens)`.
    """

    target: np.ndarray
    prediction: np.ndarray
    alignment: np.ndarray


def look(model: XTTS, inputs: Mapping[str, np.ndarray]) -> list[Sight]:
    """Run the compiled model on the first utterances of a batch, outside of any step and leaving nothing behind."""
    few = {name: value[:_ROWS] for name, value in inputs.items()}
    with looked_at(model), _observed(model) as weights:
        prediction = keras.ops.convert_to_numpy(model(few, training=False)["mel_output"])
    alignment = np.mean(weights, axis=(0, 2))
    lengths = zip(few["mel_lengths"], few["text_lengths"], strict=True)
    return [
        Sight(few["mel_inputs"][row, :frames], prediction[row, :frames], alignment[row, :frames, :tokens])
        for row, (frames, tokens) in enumerate(lengths)
    ]


def draw(sight: Sight) -> bytes:
    """Return a PNG with the two mels, one above the other in the same colours, and the alignment."""
    width, height = PIXELS
    figure = Figure(figsize=(width / _DOTS_PER_INCH, height / _DOTS_PER_INCH), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1)
    low, high = float(sight.target.min()), float(sight.target.max())
    for axes, mel, title in ((top, sight.target, "target mel"), (middle, sight.prediction, "predicted mel")):
        image = axes.imshow(mel.T, origin="lower", aspect="auto", vmin=low, vmax=high, interpolation="nearest")
        axes.set(title=title, ylabel="channel")
        figure.colorbar(image, ax=axes)
    image = bottom.imshow(sight.alignment.T, origin="lower", aspect="auto", vmin=0.0, interpolation="nearest")
    bottom.set(title="attention to the text", xlabel="frame", ylabel="token")
    figure.colorbar(image, ax=bottom)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()


@contextmanager
def _observed(model: XTTS) -> Iterator[list[np.ndarray]]:
    weights: list[np.ndarray] = []
    attentions = [block.cross_attention for block in model.decoder.blocks]
    for attention in attentions:
        attention.observer = lambda found: weights.append(keras.ops.convert_to_numpy(found))
    try:
        yield weights
    finally:
        for attention in attentions:
            attention.observer = None
