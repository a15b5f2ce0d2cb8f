"""Architectures that read or write text."""

import keras_hub

from tests.models.architecture import KEY_BIAS, Values, architecture, compiled

models = keras_hub.models

WORDS = 32
SIZE = {"vocabulary_size": WORDS, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32}
HEADS = {**SIZE, "num_heads": 2}
GROUPED_HEADS = {**SIZE, "num_query_heads": 4, "num_key_value_heads": 2}

TOKENS = Values((4, 8), WORDS)
BITS = Values((4, 8), 2)
TEXT = {"token_ids": TOKENS, "padding_mask": BITS}
SEGMENTED_TEXT = {**TEXT, "segment_ids": BITS}
CLASSES = Values((4,), 3)
MASKED_TEXT = {**SEGMENTED_TEXT, "mask_positions": Values((4, 3), 8)}
MASKED_TOKENS = (Values((4, 3), WORDS), Values((4, 3)))
UNUSED_POOLER = {"pooled_dense/": "disconnected"}


@architecture(SEGMENTED_TEXT, CLASSES, inert=KEY_BIAS)
def bert_text_classifier():
    return compiled(models.BertTextClassifier(models.BertBackbone(**HEADS), num_classes=3))


@architecture(MASKED_TEXT, *MASKED_TOKENS, dead=UNUSED_POOLER, inert=KEY_BIAS)
def bert_masked_lm():
    return compiled(models.BertMaskedLM(models.BertBackbone(**HEADS)))


@architecture(MASKED_TEXT, *MASKED_TOKENS, dead=UNUSED_POOLER, inert=KEY_BIAS)
def albert_masked_lm_that_repeats_its_layer():
    backbone = models.AlbertBackbone(**HEADS | {"num_layers": 2}, embedding_dim=8)
    return compiled(models.AlbertMaskedLM(backbone))


@architecture(TEXT, CLASSES)
def deberta_v3_text_classifier():
    return compiled(models.DebertaV3TextClassifier(models.DebertaV3Backbone(**HEADS, bucket_size=4), num_classes=3))


@architecture({"token_ids": TOKENS, "segment_ids": BITS}, CLASSES)
def f_net_text_classifier():
    return compiled(models.FNetTextClassifier(models.FNetBackbone(**SIZE), num_classes=3))


@architecture(TEXT, TOKENS, Values((4, 8)), inert=KEY_BIAS)
def gpt2_causal_lm():
    return compiled(models.GPT2CausalLM(models.GPT2Backbone(**HEADS)))


@architecture(TEXT, TOKENS)
def llama_causal_lm():
    return compiled(models.LlamaCausalLM(models.LlamaBackbone(**GROUPED_HEADS)))


@architecture(TEXT, TOKENS)
def mixtral_causal_lm():
    return compiled(models.MixtralCausalLM(models.MixtralBackbone(**GROUPED_HEADS, num_experts=3)))


@architecture(
    {
        "encoder_token_ids": TOKENS,
        "encoder_padding_mask": BITS,
        "decoder_token_ids": TOKENS,
        "decoder_padding_mask": BITS,
    },
    TOKENS,
    slow=True,
)
def t5_seq_2_seq_lm():
    return compiled(models.T5Seq2SeqLM(models.T5Backbone(**HEADS)))
