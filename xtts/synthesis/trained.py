"""Finds and reads what a training has left: the model's weights, its sizes, and what its corpus was prepared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xtts.config import Config, read_tables
from xtts.data.manifest import CORPUS, TOKENIZER, Shared, read_shared
from xtts.errors import RunError
from xtts.models.xtts import XTTS
from xtts.synthesis.synthesizer import Synthesizer
from xtts.text.tokenizer import TextTokenizer, read_tokenizer
from xtts.training.assembly import compiled_model
from xtts.training.checkpoint import read_facts, read_weights
from xtts.training.run_folder import checkpoint_of


@dataclass(frozen=True)
class Trained:
    """A trained model, and what its corpus was prepared with.

    Attributes:
        checkpoint: the file.
        step: number of the last step that it was trained for.
        config: what it was trained on, and how.
        model: the model with its weights.
        shared: settings and spreads of the corpus.
        tokenizer: of the corpus.
        folder: where `corpus.json` and `tokenizer.json` lie.
    """

    checkpoint: Path
    step: int
    config: Config
    model: XTTS
    shared: Shared
    tokenizer: TextTokenizer
    folder: Path

    def synthesizer(self) -> Synthesizer:
        """Return what speaks with this model."""
        return Synthesizer(self.model, self.shared, self.tokenizer)


def read_trained(path: Path) -> Trained:
    """Read a checkpoint.

    Args:
        path: the file, or a run folder: then its best checkpoint, or the last one if none was validated.

    Raises:
        RunError: there is none, it is damaged, or it was trained without a corpus.
        DataError: what is known of the corpus cannot be read.
    """
    checkpoint = checkpoint_of(path)
    facts = read_facts(checkpoint)
    config = read_tables(facts.config)
    if config.data.corpus is None:
        raise RunError(f"{checkpoint} was trained on generated batches, no speech: train on a prepared corpus.")
    folder = _folder_of_corpus(checkpoint, Path(config.data.corpus))
    model = compiled_model(config)
    model.build()
    read_weights(checkpoint, model)
    return Trained(
        checkpoint, facts.step, config, model, read_shared(folder), read_tokenizer(folder / TOKENIZER), folder
    )


def _folder_of_corpus(checkpoint: Path, corpus: Path) -> Path:
    """The run folder, which has a copy; or the corpus itself."""
    run = checkpoint.parent.parent
    return run if (run / CORPUS).is_file() else corpus
