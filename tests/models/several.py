"""Architectures that see or hear, and read or write."""

import keras
import keras_hub

from tests.models.architecture import KEY_BIAS, Values, architecture
from tests.models.images import IMAGES, SHAPE
from tests.models.text import BITS, HEADS, TOKENS

models = keras_hub.models


def whisper() -> keras.Model:
    return models.WhisperBackbone(**HEADS, num_mels=8, max_encoder_sequence_length=12, max_decoder_sequence_length=8)


SPEECH = {"encoder_features": Values((4, 12, 8)), "decoder_token_ids": TOKENS, "decoder_padding_mask": BITS}


@architecture(SPEECH, TOKENS)
def whisper_transcriber():
    backbone = whisper()
    written = backbone(backbone.input)["decoder_sequence_output"]
    model = keras.Model(backbone.input, backbone.token_embedding(written, reverse=True))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@architecture(
    SPEECH,
    Values((4,), 3),
    dead={"transformer_decoder_layer_0/": "disconnected", "decoder_": "disconnected"},
)
def whisper_that_classifies_what_its_encoder_hears():
    backbone = whisper()
    heard = backbone(backbone.input)["encoder_sequence_output"]
    model = keras.Model(backbone.input, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(heard)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@architecture(
    {"images": IMAGES, "token_ids": TOKENS},
    {"vision_logits": Values((4,), 4), "text_logits": Values((4,), 4)},
    inert=KEY_BIAS,
)
def clip():
    vision = models.CLIPVisionEncoder(
        patch_size=8, hidden_dim=16, num_layers=1, num_heads=2, intermediate_dim=32, image_shape=SHAPE
    )
    text = models.CLIPTextEncoder(**HEADS, embedding_dim=16, max_sequence_length=8)
    model = models.CLIPBackbone(vision, text, projection_dim=16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", {"vision_logits": loss, "text_logits": loss})
    return model
