"""Turns what is written into what is said: numbers and signs become words, and of several ways to write one is left."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from xtts.text.languages import Language

LONGEST_NUMBER = 9
"""Digits of a number; longer ones are codes or telephone numbers, and read digit by digit."""

_CURRENCIES = "$€£"
_APOSTROPHES = "\u2019\u2018\u02bc`\u00b4"
_DASHES = "\u2013\u2014\u2212\u2010\u2011"
_UNSPOKEN = '\u201c\u201d\u201e\u00ab\u00bb"[](){}<>_/\\|~^'
_ALIKE = str.maketrans(
    {**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_DASHES, "-"), **dict.fromkeys(_UNSPOKEN, " ")}
)


def normalise(text: str, language: Language) -> str:
    """Return the text as it is spoken, in lower case.

    Numbers are spelt out in the language: cardinals, ordinals, decimals, amounts; digits one by one where a number
    starts with a zero or is longer than nine digits. Quotes, brackets and slashes go, dashes and apostrophes become
    alike, dots in a row one ellipsis.
    """
    text = unicodedata.normalize("NFC", text)
    text = re.sub(rf"([{_CURRENCIES}])\s?({_number_pattern(language)})", r"\2 \1", text)
    text = _speak_numbers(text, language)
    for sign, spoken in language.signs.items():
        text = text.replace(sign, f" {spoken} ")
    text = text.translate(_ALIKE).lower()
    text = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    text = re.sub(r"…|\.(\s*\.)+", "… ", text)
    text = re.sub(r"\s+([,.;:!?…])", r"\1", text)
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def _speak_numbers(text: str, language: Language) -> str:
    if language.ordinal:
        text = re.sub(rf"\b(\d+)(?:{language.ordinal})(?!\w)", lambda found: _ordinal(found[1], language), text)
    return re.sub(_number_pattern(language), lambda found: f" {_cardinal(found[0], language)} ", text)


def _number_pattern(language: Language) -> str:
    between, decimal = re.escape(language.thousands), re.escape(language.decimal)
    return rf"(?:\d{{1,3}}(?:[{between}]\d{{3}})+(?!\d)|\d+)(?:{decimal}\d+)?"


def _ordinal(digits: str, language: Language) -> str:
    if len(digits) > LONGEST_NUMBER:
        return _one_by_one(digits, language)
    return num2words(int(digits), lang=language.code, to="ordinal")


def _cardinal(number: str, language: Language) -> str:
    whole, _, fraction = number.partition(language.decimal)
    grouped = any(mark in whole for mark in language.thousands)
    whole = "".join(character for character in whole if character.isdigit())
    if not fraction and not grouped and (len(whole) > LONGEST_NUMBER or (whole[0] == "0" and len(whole) > 1)):
        return _one_by_one(whole, language)
    value = float(f"{whole}.{fraction}") if fraction else int(whole)
    # The converter sets commas of English into long numbers, where no one pauses.
    return num2words(value, lang=language.code).replace(",", "")


def _one_by_one(digits: str, language: Language) -> str:
    return " ".join(num2words(int(digit), lang=language.code) for digit in digits)
