"""Spoken text to token ids: the language's token, a token for each character or piece of a word, and the end's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from xtts.errors import DataError
from xtts.text.languages import LANGUAGES, Language

PADDING = "[padding]"
END = "[end]"
SPECIAL = (PADDING, END, *(f"[{code}]" for code in LANGUAGES))

Pieces = Literal["characters", "bpe"]


class TextTokenizer:
    """Token ids of normalised text; 0 is padding.

    The first token tells the language and has the silence before the speech for its sound, the last one is the end and
    has the silence after it. Spaces are tokens of their own, so that pauses have a place.

    Args:
        inner: what `trained_tokenizer` or `read_tokenizer` gives.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        self._characters = frozenset(piece for piece in inner.get_vocab() if len(piece) == 1)

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return self._inner.get_vocab_size()

    def unseen(self, spoken: str) -> str:
        """Return the characters of a text that have no token, each once, in order."""
        return "".join(sorted(set(spoken) - self._characters))

    def encode(self, spoken: str, language: Language) -> tuple[int, ...]:
        """Return the ids of a normalised text, language and end included.

        Raises:
            DataError: it is empty, or has characters that the tokenizer never saw.
        """
        unseen = self.unseen(spoken)
        if unseen:
            raise DataError(
                f"The text {spoken!r} has characters that the tokenizer never saw: {' '.join(map(repr, unseen))}. "
                "Write it without them, or train on a corpus that has them."
            )
        if not spoken:
            raise DataError("The text holds nothing that could be spoken. Write some words.")
        ids = self._inner.encode(spoken, add_special_tokens=False).ids
        return (SPECIAL.index(f"[{language.code}]"), *ids, SPECIAL.index(END))

    def pieces(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Return what each id stands for."""
        return tuple(self._inner.id_to_token(number) or "" for number in ids)

    def json(self) -> str:
        """The tokenizer as a file of the library `tokenizers`."""
        return self._inner.to_str(pretty=True)


def trained_tokenizer(texts: Iterable[str], pieces: Pieces = "characters", size: int = 512) -> TextTokenizer:
    """Train a tokenizer on normalised texts.

    Args:
        texts: what it is trained on; each of their characters gets a token.
        pieces: a token for each character, or byte-pair encoding: a token for each frequent piece of a word too.
        size: number of token ids with byte-pair encoding; more if there are more characters.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    inner.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        # With room for no merge, each character stays a token.
        vocab_size=size if pieces == "bpe" else 0,
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    inner.train_from_iterator(sorted(set(texts)), trainer)
    return TextTokenizer(inner)


def read_tokenizer(path: Path) -> TextTokenizer:
    """Read a tokenizer's file.

    Raises:
        DataError: it is missing, or not of this kind.
    """
    try:
        inner = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more specific
        raise DataError(f"The tokenizer {path} cannot be read: {error}. Name one of `xtts prepare`.") from None
    if [inner.id_to_token(number) for number in range(len(SPECIAL))] != list(SPECIAL):
        raise DataError(f"{path} is no tokenizer of `xtts prepare`: its first tokens are others.")
    return TextTokenizer(inner)
