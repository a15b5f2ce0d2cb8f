"""The training configuration: one TOML file's tables, checked."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xtts.errors import ConfigError
from xtts.outputs import DIFFUSION_OUTPUTS, OUTPUT_OF_TARGET, OUTPUTS, TARGETS
from xtts.presets import PRESETS, Decoder
from xtts.training.losses import DEFAULT_WEIGHTS, PARTICIPATION_WEIGHT, Participation

Target = Literal[TARGETS]  # type: ignore[valid-type]
Output = Literal[OUTPUTS + DIFFUSION_OUTPUTS]  # type: ignore[valid-type]
Term = Literal[tuple(DEFAULT_WEIGHTS)]  # type: ignore[valid-type]
Preset = Literal[tuple(PRESETS)]  # type: ignore[valid-type]

# The auditor's table may stand in the same file; it is not ours to check.
FOREIGN_TABLE = "gradaudit"


class Table(BaseModel):
    """Base of all tables: a key that is not a field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelTable(Table):
    """[model]: the preset, and what is changed of it."""

    preset: Preset = "small"
    decoder: Decoder = "autoregressive"
    vocabulary_size: Annotated[int, Field(ge=2)] | None = None
    mel_channels: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    aligned: bool = False

    @model_validator(mode="after")
    def _a_parallel_decoder_is_aligned(self) -> ModelTable:
        if self.decoder == "parallel" and not self.aligned:
            raise ValueError('decoder = "parallel" makes each frame of the token that it speaks: set aligned = true')
        return self


# Keys of [data] that mean nothing to the other source of batches.
OF_GENERATED = ("batch_size", "most_tokens", "most_frames")
OF_CORPUS = ("shapes", "frames_in_batch", "workers")


class DataTable(Table):
    """[data]: a prepared corpus, or generated batches if none is named; and the targets that they hold."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = TARGETS
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] = 4
    most_tokens: Annotated[int, Field(ge=2)] = 24
    most_frames: Annotated[int, Field(ge=2)] = 160
    reference_frames: Annotated[int, Field(ge=2)] = 96
    corpus: str | None = None
    shapes: Annotated[int, Field(ge=1)] = 4
    frames_in_batch: Annotated[int, Field(ge=1)] = 4_000
    workers: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _keys_are_of_one_source(self) -> DataTable:
        if self.corpus is None:
            strangers, advice = OF_CORPUS, "is for a prepared corpus: name it with data.corpus"
        else:
            strangers, advice = OF_GENERATED, f"is for generated batches: with data.corpus set {', '.join(OF_CORPUS)}"
        for key in strangers:
            # One that is given as it would be anyway says nothing: a run folder's config names every key.
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"data.{key} {advice}")
        return self


class LossTable(Table):
    """[loss]: weights, what becomes of outputs without a target, and the outputs that the loss may read."""

    participation: Participation = "regularize"
    participation_weight: Annotated[float, Field(ge=0)] = PARTICIPATION_WEIGHT
    outputs: tuple[Output, ...] | None = None
    weights: dict[Term, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class OptimizerTable(Table):
    """[optimizer]: which one, and how fast. Steps are those of `fit`, one for each batch."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    accumulate: Annotated[int, Field(ge=1)] = 1
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None


class TrainTable(Table):
    """[train]: length, precision, compilation and device; how often is saved and validated, and when that ends it."""

    steps: Annotated[int, Field(ge=1)] = 20
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    device: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    save_every: Annotated[int, Field(ge=1)] = 500
    keep: Annotated[int, Field(ge=1)] = 3
    validation_batches: Annotated[int, Field(ge=0)] = 4
    patience: Annotated[int, Field(ge=1)] | None = None
    sentences: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Config(Table):
    """The whole file, without the auditor's table."""

    model: ModelTable = ModelTable()
    data: DataTable = DataTable()
    loss: LossTable = LossTable()
    optimizer: OptimizerTable = OptimizerTable()
    train: TrainTable = TrainTable()

    @model_validator(mode="after")
    def _every_target_has_its_output(self) -> Config:
        if self.loss.outputs is None:
            return self
        readable = set(self.loss.outputs)
        if readable.issuperset(DIFFUSION_OUTPUTS):
            readable.add(OUTPUT_OF_TARGET["mel"])
        for target in self.data.targets:
            output = OUTPUT_OF_TARGET[target]
            if output not in readable:
                raise ValueError(f"data.targets names {target!r}, but its output {output!r} is not among loss.outputs")
        return self

    @model_validator(mode="after")
    def _training_outlasts_its_warmup(self) -> Config:
        if self.optimizer.warmup_steps >= self.train.steps and self.optimizer.warmup_steps:
            raise ValueError(
                f"optimizer.warmup_steps = {self.optimizer.warmup_steps} leaves nothing of "
                f"train.steps = {self.train.steps}: warm up for fewer steps, or train for more"
            )
        return self

    @model_validator(mode="after")
    def _sentences_have_a_voice(self) -> Config:
        if self.train.sentences and self.data.corpus is None:
            raise ValueError("train.sentences are spoken in a voice of the corpus: name one with data.corpus")
        if self.train.sentences and not self.train.validation_batches:
            raise ValueError("train.sentences are spoken after validations: set train.validation_batches above 0")
        return self

    @model_validator(mode="after")
    def _patience_has_something_to_wait_for(self) -> Config:
        if self.train.patience is not None and not self.train.validation_batches:
            raise ValueError("train.patience waits for the validation loss: set train.validation_batches above 0")
        return self


def read_tables(tables: Mapping[str, Any]) -> Config:
    """Check the tables of a parsed file.

    Raises:
        ConfigError: a key is unknown (the nearest known one is named), or a value is of the wrong kind.
    """
    own = {name: table for name, table in tables.items() if name != FOREIGN_TABLE}
    try:
        return Config.model_validate(own)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem: Mapping[str, Any]) -> str:
    location = tuple(str(part) for part in problem["loc"] if part != "[key]")
    key = ".".join(location)
    if not location:
        return problem["msg"].removeprefix("Value error, ")
    if problem["type"] != "extra_forbidden":
        return f"{key} = {problem['input']!r}: {_lower_first(problem['msg'])}"
    known = _known_keys(location[:-1])
    nearest = get_close_matches(location[-1], known, n=1, cutoff=0.0)
    kind = "key" if len(location) > 1 else "table"
    return f"unknown {kind} {key!r}: did you mean {nearest[0]!r}? ({kind}s here: {', '.join(known)})"


def _known_keys(location: tuple[str, ...]) -> list[str]:
    table: Any = Config
    for name in location:
        table = table.model_fields[name].annotation
    return sorted(table.model_fields)


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]
