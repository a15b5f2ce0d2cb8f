"""The languages that texts may be in: how each writes its numbers, and what it calls the signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xtts.errors import DataError


@dataclass(frozen=True)
class Language:
    """What normalisation needs to know of a language.

    Attributes:
        code: of ISO 639-1, which is also how the converter of numbers knows it.
        name: in English.
        thousands: what may stand between groups of three digits.
        decimal: what stands before the fraction.
        ordinal: what makes an ordinal of the digits before it, as a regular expression; nothing if left out.
        signs: how a sign is spoken.
    """

    code: str
    name: str
    thousands: str
    decimal: str
    ordinal: str = ""
    signs: Mapping[str, str] = field(default_factory=dict)


def language_of(code: str) -> Language:
    """Return the language of a code such as `en`, `en_US` or `pt-BR`.

    Raises:
        DataError: it is none of those known here.
    """
    base = code.replace("_", "-").split("-")[0].lower()
    if base not in LANGUAGES:
        raise DataError(f"The language {code!r} is not known here; known are {', '.join(LANGUAGES)}.")
    return LANGUAGES[base]


_SPACES = " \u00a0\u202f"

_KNOWN = (
    Language(
        "en",
        "English",
        thousands=",",
        decimal=".",
        ordinal="st|nd|rd|th",
        signs={
            "%": "percent",
            "&": "and",
            "+": "plus",
            "=": "equals",
            "@": "at",
            "#": "pound",
            "*": "star",
            "$": "dollars",
            "€": "euros",
            "£": "pounds",
        },
    ),
    Language(
        "es",
        "Spanish",
        thousands=".",
        decimal=",",
        ordinal="[ºª°]",
        signs={
            "%": "por ciento",
            "&": "y",
            "+": "más",
            "=": "igual a",
            "@": "arroba",
            "#": "numeral",
            "*": "asterisco",
            "$": "dólares",
            "€": "euros",
            "£": "libras",
        },
    ),
    Language(
        "fr",
        "French",
        thousands=_SPACES,
        decimal=",",
        ordinal="ères|ère|ers|er|res|re|èmes|ème|es|e",
        signs={
            "%": "pour cent",
            "&": "et",
            "+": "plus",
            "=": "égale",
            "@": "arobase",
            "#": "dièse",
            "*": "étoile",
            "$": "dollars",
            "€": "euros",
            "£": "livres",
        },
    ),
    Language(
        "it",
        "Italian",
        thousands=".",
        decimal=",",
        ordinal="[ºª°]",
        signs={
            "%": "per cento",
            "&": "e",
            "+": "più",
            "=": "uguale",
            "@": "chiocciola",
            "#": "cancelletto",
            "*": "asterisco",
            "$": "dollari",
            "€": "euro",
            "£": "sterline",
        },
    ),
    Language(
        "ru",
        "Russian",
        thousands=_SPACES,
        decimal=",",
        signs={
            "%": "процентов",
            "&": "и",
            "+": "плюс",
            "=": "равно",
            "@": "собака",
            "#": "решётка",
            "*": "звёздочка",
            "$": "долларов",
            "€": "евро",
            "£": "фунтов",
        },
    ),
    Language("de", "German", thousands=".", decimal=",", signs={"%": "Prozent", "&": "und", "+": "plus", "€": "Euro"}),
    Language("pt", "Portuguese", thousands=".", decimal=",", signs={"%": "por cento", "&": "e", "+": "mais"}),
    Language("nl", "Dutch", thousands=".", decimal=",", signs={"%": "procent", "&": "en", "+": "plus"}),
    Language("pl", "Polish", thousands=_SPACES, decimal=",", signs={"%": "procent", "&": "i", "+": "plus"}),
    Language("cs", "Czech", thousands=_SPACES, decimal=",", signs={"%": "procent", "&": "a", "+": "plus"}),
    Language("uk", "Ukrainian", thousands=_SPACES, decimal=","),
    Language("sv", "Swedish", thousands=_SPACES, decimal=","),
    Language("da", "Danish", thousands=".", decimal=","),
    Language("no", "Norwegian", thousands=_SPACES, decimal=","),
    Language("fi", "Finnish", thousands=_SPACES, decimal=","),
    Language("ro", "Romanian", thousands=".", decimal=","),
)

# In this order they have their tokens: add new ones at the end, so that ids stay.
LANGUAGES: dict[str, Language] = {language.code: language for language in _KNOWN}
