"""The parallel decoder: every variable learns, without targets the same heads do not, and it never hears the mel."""

from __future__ import annotations

import numpy as np

PARALLEL = {"decoder": "parallel", "aligned": True}


def test_with_all_targets_every_variable_has_a_gradient_that_is_not_zero(tiny):
    gradients = tiny(model=PARALLEL, loss={"participation": "off"}).gradients()
    assert [path for path, value in gradients.items() if value is None or not np.any(value)] == []


def test_without_their_targets_the_heads_of_the_warning_have_no_gradient(tiny, never_learning):
    setup = tiny(model=PARALLEL, data={"targets": ["mel", "stop"]}, loss={"participation": "off"})
    assert setup.without_gradient() == {path.replace("mel_decoder", "parallel_decoder") for path in never_learning}


def test_what_is_predicted_does_not_depend_on_the_target(tiny):
    setup = tiny(model=PARALLEL)
    inputs, _ = setup.batches[0]
    outputs = setup.model(inputs)
    others = setup.model({**inputs, "mel_inputs": inputs["mel_inputs"] + 1.0})
    assert all(np.array_equal(outputs[name], others[name]) for name in outputs)


def test_the_frame_behind_an_end_of_a_token_sees_both_tokens(tiny):
    """Attention aside, which sees everything: with its values set to zero, convolutions alone carry what is near."""
    setup = tiny(model=PARALLEL)
    setup.model.build()
    for block in setup.model.decoder.blocks:
        for attention in (block.self_attention, block.cross_attention):
            attention.result.kernel.assign(0.0 * attention.result.kernel)
    inputs, _ = setup.batches[0]
    tokens = inputs["text_inputs"].copy()
    tokens[0, 0] = tokens[0, 0] % 31 + 1
    decoder, encode = setup.model.decoder, setup.model.text_encoder.embedding
    arguments = [np.zeros((len(tokens), 32), "float32"), np.zeros((*tokens.shape, 4), "float32")]
    mels = [
        decoder(inputs["mel_inputs"], encode(text), *arguments, durations=inputs["durations"])["mel_output"]
        for text in (inputs["text_inputs"], tokens)
    ]
    changed = np.abs(np.array(mels[0]) - np.array(mels[1])).max(axis=-1)[0] > 1e-6
    first, *_ = np.cumsum(inputs["durations"][0]).astype(int)
    assert changed[: first + 1].all()
