"""The names of outputs, targets and loss terms, and which output each target is for."""

from __future__ import annotations

OUTPUT_OF_TARGET: dict[str, str] = {
    "mel": "mel_output",
    "stop": "stop_tokens",
    "duration": "duration_pred",
    "pitch": "pitch_output",
    "energy": "energy_output",
    "prosody_pitch": "prosody_pitch",
    "prosody_energy": "prosody_energy",
    "prosody_speaking_rate": "prosody_speaking_rate",
}
TARGETS: tuple[str, ...] = tuple(OUTPUT_OF_TARGET)
OUTPUTS: tuple[str, ...] = tuple(OUTPUT_OF_TARGET.values())

# The diffusion decoder also gives the velocity as it predicts it, and as it is.
DIFFUSION_OUTPUTS: tuple[str, ...] = ("diffusion_pred", "diffusion_target")


# What a loss may be made of: a term for each target, the diffusion's own, and one for all outputs without a target.
PARTICIPATION = "gradient_participation"
TERMS: tuple[str, ...] = (*TARGETS, "diffusion", PARTICIPATION)


def target_key(target: str) -> str:
    """Return the key under which a target is found among the loss's `y_true`."""
    return f"{target}_target"
