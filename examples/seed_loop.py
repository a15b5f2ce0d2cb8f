"""A plain training loop around XTTS with targets for mel and stop alone: run it, or audit it.

python examples/seed_loop.py
gradaudit trace examples/seed_loop.py:subject
"""

from __future__ import annotations

import keras
import tensorflow as tf

from gradaudit import Subject
from xtts.data.generated import BatchShape, GeneratedBatches
from xtts.models.xtts import XTTS
from xtts.training.losses import XTTSLoss

STEPS = 3

model = XTTS.from_preset("tiny")
criterion = XTTSLoss()
optimizer = keras.optimizers.AdamW(1e-3)


def train_step(text_inputs, mel_inputs, audio_conditioning, stop_targets, text_lengths, mel_lengths):
    """Train on one batch, and return its loss."""
    with tf.GradientTape() as tape:
        # Forward pass
        outputs = model(text_inputs, mel_inputs, audio_conditioning, training=True)

        # Create predictions including ALL outputs
        y_pred = {
            "mel_output": outputs["mel_output"],
            "stop_tokens": outputs["stop_tokens"],
        }

        # Include all prosody outputs
        prosody_keys = [
            "duration_pred", "pitch_output", "energy_output",
            "prosody_pitch", "prosody_energy", "prosody_speaking_rate",
        ]  # fmt: skip

        for key in prosody_keys:
            if key in outputs:
                y_pred[key] = outputs[key]

        # Targets can be minimal
        y_true = {
            "mel_target": mel_inputs,
            "stop_target": stop_targets,
            "text_lengths": text_lengths,
            "mel_lengths": mel_lengths,
            # Prosody targets are optional - regularization handles missing ones
        }

        # Compute loss
        loss = criterion(y_true, y_pred)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss


def generated_batch(index: int) -> tuple:
    """Return the arguments of `train_step` for a batch."""
    shape = BatchShape(batch_size=2, most_tokens=8, most_frames=40, reference_frames=24)
    sizes = model.architecture
    batches = GeneratedBatches(sizes.vocabulary_size, sizes.mel_channels, shape, targets=["mel", "stop"])
    inputs, targets = batches[index]
    return (
        inputs["text_inputs"],
        inputs["mel_inputs"],
        inputs["audio_conditioning"],
        targets["stop_target"],
        targets["text_lengths"],
        targets["mel_lengths"],
    )


def subject() -> Subject:
    """Return the step above for an audit."""
    return Subject(train_step, generated_batch(0), name="seed_loop")


if __name__ == "__main__":
    for step in range(STEPS):
        print(f"step {step + 1}  loss {float(train_step(*generated_batch(step))):.4f}")
