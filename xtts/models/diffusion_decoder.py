"""Speaks by denoising: the diffusion decoder, which makes all frames at once from noise."""

from __future__ import annotations

import math

import keras
from keras import ops

from xtts.layers.masks import key_mask
from xtts.layers.positions import sinusoidal_features
from xtts.models.frame_decoder import FrameDecoder

# Keeps the signal's share of the noisiest mel, and the noise's share of the cleanest, from reaching zero too early.
SCHEDULE_OFFSET = 0.008
# Times lie in [0, 1]; the features of a time are those of a position, which need whole numbers to tell apart.
TIME_SCALE = 1000.0


@keras.saving.register_keras_serializable(package="xtts")
class DiffusionDecoder(FrameDecoder):
    """A transformer that is given a mel with noise in it, and tells noise from speech.

    It attends to the text, and is conditioned on speaker, style and the time of the diffusion. It predicts the
    velocity v = signal * noise - deviation * mel, of which both the noise and the mel follow. Frames see each other in
    both directions; padding is masked out.

    Source: Ho et al. 2020, "Denoising Diffusion Probabilistic Models"; the cosine schedule of Nichol & Dhariwal 2021,
    "Improved DDPM", in continuous time; the velocity of Salimans & Ho 2022, "Progressive Distillation".
    """

    def __init__(self, *args, seed: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.noisy_mel_projection = self._dense(self.width, "noisy_mel_projection")
        self.time_layer_0 = self._dense(self.width, "time_layer_0", "silu")
        self.time_layer_1 = self._dense(self.width, "time_layer_1")
        self.velocity_projection = self._dense(self.mel_channels, "velocity_projection")

    def build(self, mel_shape, encoding_shape, conditioning_shape, text_prosody_shape) -> None:
        super().build(mel_shape, encoding_shape, conditioning_shape, text_prosody_shape)
        frames_shape = (*mel_shape[:-1], self.width)
        self.noisy_mel_projection.build(mel_shape)
        self.time_layer_0.build((mel_shape[0], self.width))
        self.time_layer_1.build((mel_shape[0], self.width))
        self.velocity_projection.build(frames_shape)

    def call(
        self,
        mel,
        encoding,
        conditioning,
        text_prosody,
        text_valid=None,
        frame_valid=None,
        durations=None,
        training=None,
    ):
        """Add noise to a target at a random time of the diffusion, and predict the velocity there.

        Args:
            mel: the target, `(batch, frames, mel_channels)`.
            encoding: the encoded text, `(batch, tokens, width)`.
            conditioning: speaker and style, `(batch, channels)`.
            text_prosody: log-duration, pitch, energy and speaking rate of each token, `(batch, tokens, 4)`.
            text_valid: `(batch, tokens)` booleans, true where a token is real, or `None` for all.
            frame_valid: `(batch, frames)` booleans, true where a frame is real, or `None` for all.
            durations: `(batch, tokens)`, in frames, of an aligned decoder.

        Returns:
            A dict of `mel_output` (the mel that the predicted velocity implies), `diffusion_pred` and
            `diffusion_target` (the velocity as predicted and as it is), each `(batch, frames, mel_channels)`, and
            `stop_tokens` (logits), `pitch_output`, `energy_output`, each `(batch, frames)`.
        """
        mel = ops.cast(mel, "float32")
        time = keras.random.uniform((ops.shape(mel)[0],), seed=self.seed_generator)
        noise = keras.random.normal(ops.shape(mel), seed=self.seed_generator)
        signal, deviation = (level[:, None, None] for level in noise_levels(time))
        noisy_mel = signal * mel + deviation * noise
        prediction = self.denoise(
            noisy_mel, time, encoding, conditioning, text_prosody, text_valid, frame_valid, durations, training
        )
        velocity = ops.cast(prediction.pop("velocity"), "float32")
        return {
            "mel_output": signal * noisy_mel - deviation * velocity,
            "diffusion_pred": velocity,
            "diffusion_target": signal * noise - deviation * mel,
            **prediction,
        }

    def denoise(
        self,
        noisy_mel,
        time,
        encoding,
        conditioning,
        text_prosody,
        text_valid=None,
        frame_valid=None,
        durations=None,
        training=None,
    ):
        """Predict the velocity of a noisy mel `(batch, frames, mel_channels)` at times `(batch,)` in [0, 1].

        The other arguments are those of `call`.

        Returns:
            A dict of `velocity` `(batch, frames, mel_channels)` and `stop_tokens` (logits), `pitch_output`,
            `energy_output`, each `(batch, frames)`.
        """
        time_features = ops.cast(sinusoidal_features(TIME_SCALE * time, self.width), self.compute_dtype)
        time_encoding = self.time_layer_1(self.time_layer_0(time_features))
        frames = self.noisy_mel_projection(ops.cast(noisy_mel, self.compute_dtype)) + time_encoding[:, None, :]
        memory = self.read_text(encoding, text_prosody)
        frames = self.transform(frames, memory, conditioning, durations, text_valid, key_mask(frame_valid), training)
        described, pitch, energy = self.describe_frames(frames)
        return {
            "velocity": self.velocity_projection(described),
            "stop_tokens": self.stop_logits(described),
            "pitch_output": pitch,
            "energy_output": energy,
        }

    def speak(
        self, encoding, conditioning, text_prosody, noise, frame_valid, text_valid=None, durations=None, steps=50
    ):
        """Make all frames at once out of noise, in steps that take more of it away.

        Args:
            encoding, conditioning, text_prosody, text_valid, frame_valid, durations: as in `call`.
            noise: `(batch, frames, mel_channels)`, drawn from the normal distribution.
            steps: how many times the noise is predicted.

        Returns:
            The mel `(batch, frames, mel_channels)`.

        Source: Song et al. 2021, "Denoising Diffusion Implicit Models", with the velocity of Salimans & Ho 2022.
        """
        batch = ops.shape(noise)[0]

        def less_noise(step, mel):
            before, after = (1.0 - ops.cast(place, "float32") / steps for place in (step, step + 1))
            velocity = self.denoise(
                mel,
                ops.broadcast_to(before, (batch,)),
                encoding,
                conditioning,
                text_prosody,
                text_valid,
                frame_valid,
                durations,
                False,
            )["velocity"]
            velocity = ops.cast(velocity, "float32")
            (signal, deviation), (next_signal, next_deviation) = noise_levels(before), noise_levels(after)
            clean, noise_in_it = signal * mel - deviation * velocity, deviation * mel + signal * velocity
            return step + 1, next_signal * clean + next_deviation * noise_in_it

        start = (ops.zeros((), "int32"), ops.cast(noise, "float32"))
        _, mel = ops.while_loop(lambda step, _: step < steps, less_noise, start)
        return mel

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed}


def noise_levels(time):
    """Return the signal's and the noise's factor at times in [0, 1]; their squares sum to one.

    Source: Nichol & Dhariwal 2021, "Improved DDPM", equation 17.
    """
    angle = (time + SCHEDULE_OFFSET) / (1.0 + SCHEDULE_OFFSET) * (math.pi / 2)
    return ops.cos(angle), ops.sin(angle)
