"""Text: numbers and signs are spoken in the text's language; the tokenizer gives ids and refuses what it never saw."""

from __future__ import annotations

import pytest

from xtts.errors import DataError
from xtts.text.languages import LANGUAGES, language_of
from xtts.text.normalisation import normalise
from xtts.text.tokenizer import SPECIAL, read_tokenizer, trained_tokenizer

TEXTS = ["hello world.", "hello there", "the other world"]


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        ("en", "Press 2 or 15.", "press two or fifteen."),
        ("en", "1,234.5 miles", "one thousand two hundred and thirty-four point five miles"),
        ("en", "the 21st at 5%", "the twenty-first at five percent"),
        ("en", "$16 & £2.50", "sixteen dollars and two point five pounds"),
        ("en", "Agent 007", "agent zero zero seven"),
        ("en", "call 12345678901", "call one two three four five six seven eight nine zero one"),
        ("en", "…to “lock”, or . . . [un]lock", "… to lock, or… un lock"),
        ("en", "don\u2019t \u2013 stop", "don't - stop"),
        ("es", "1.234,5 y 3º", "mil doscientos treinta y cuatro punto cinco y tercero"),
        ("fr", "le 1er et 21\u00a0000", "le premier et vingt et un mille"),
        ("fr", "les 2e", "les deuxième"),
        ("it", "3,5 più 2°", "tre virgola cinque più secondo"),
        ("ru", "Нажмите 21.", "нажмите двадцать один."),
        ("de", "1.000 Euro", "eintausend euro"),
        ("en", "a\u0000b\u200bc\n d", "a b c d"),
    ],
)
def test_what_is_written_becomes_what_is_said(language, text, spoken):
    assert normalise(text, language_of(language)) == spoken


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_language_speaks_numbers_and_leaves_no_digit(language):
    spoken = normalise(f"0 7 21 100 2024 1{language.decimal}25 999999999", language)
    assert not any(character.isdigit() for character in spoken)
    assert normalise(spoken, language) == spoken


@pytest.mark.parametrize(("code", "expected"), [("en", "en"), ("pt-BR", "pt"), ("es_MX", "es"), ("FR", "fr")])
def test_a_language_is_known_by_its_code_with_or_without_a_country(code, expected):
    assert language_of(code).code == expected


def test_an_unknown_language_is_named_with_those_that_are_known():
    with pytest.raises(DataError, match=r"'tlh'.*en, es, fr, it, ru"):
        language_of("tlh")


def test_tokens_begin_with_the_language_and_end_with_the_end():
    tokenizer = trained_tokenizer(TEXTS)
    pieces = tokenizer.pieces(tokenizer.encode("hello there", language_of("fr")))
    assert pieces == ("[fr]", *"hello there", "[end]")


def test_id_0_is_padding_and_languages_have_the_same_ids_whatever_the_texts():
    for texts in (TEXTS, ["xyz"]):
        assert trained_tokenizer(texts).pieces(range(len(SPECIAL))) == SPECIAL
    assert SPECIAL[0] == "[padding]"


def test_characters_are_the_only_tokens_unless_byte_pairs_are_asked_for():
    tokenizer = trained_tokenizer(TEXTS)
    assert tokenizer.vocabulary_size == len(SPECIAL) + len(set("".join(TEXTS)))


def test_byte_pairs_join_frequent_letters_and_never_words():
    tokenizer = trained_tokenizer(TEXTS, "bpe", size=60)
    pieces = tokenizer.pieces(tokenizer.encode("hello world.", language_of("en")))
    assert "hello" in pieces
    assert " " in pieces
    assert not any(" " in piece and piece != " " for piece in pieces)
    assert "".join(pieces[1:-1]) == "hello world."


def test_training_does_not_depend_on_the_order_of_texts():
    assert trained_tokenizer(TEXTS, "bpe").json() == trained_tokenizer(TEXTS[::-1], "bpe").json()


def test_characters_never_seen_are_named():
    with pytest.raises(DataError, match=r"never saw: 'q' 'ж'"):
        trained_tokenizer(TEXTS).encode("жq", language_of("en"))


def test_an_empty_text_is_refused():
    with pytest.raises(DataError, match="nothing that could be spoken"):
        trained_tokenizer(TEXTS).encode("", language_of("en"))


def test_a_tokenizer_read_from_its_file_gives_the_same_ids(tmp_path):
    tokenizer = trained_tokenizer(TEXTS)
    (tmp_path / "tokenizer.json").write_text(tokenizer.json(), "utf-8")
    read = read_tokenizer(tmp_path / "tokenizer.json")
    assert read.encode("the world", language_of("en")) == tokenizer.encode("the world", language_of("en"))


@pytest.mark.parametrize("content", [None, "no json", '{"version": "1.0"}'])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        read_tokenizer(path)
