"""A run's TOML file: data, the three stages, and the model that comes out."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from ..errors import UsageError
from ..models.architecture import LAYERS, Scheme
from ..models.cards import Name
from ..runtime.files import must_exist
from ..runtime.schema import KnownKeys, Number, Refusal, parse, shown, within
from ..runtime.words import counted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path")
    return path


_Path = Annotated[Path, AfterValidator(_path)]
_Count = Annotated[StrictInt, within(ge=1)]
_Positive = Annotated[Number, within(gt=0)]
_NotNegative = Annotated[Number, within(ge=0)]
_Share = Annotated[Number, within(ge=0, le=1)]
_SMALLEST_MU, _LARGEST_MU = 1e-30, 1e30
"""The weights are float32, which ends at 3e38."""
_LessThanOne = Annotated[Number, within(ge=0, lt=1)]


_Stage = TypeVar("_Stage", bound="StageConfig")


@dataclass(frozen=True)
class DataConfig(KnownKeys):
    """``[data]``: LMDB files as ``build-lmdb`` writes them, and the augmentation of the training images."""

    train: _Path
    validation: _Path
    batch_size: _Count = 256
    """Images in a batch, over all processes together."""
    workers: Annotated[StrictInt, within(ge=0, le=256)] = 2
    """Decoding processes for each training process; 0 to decode in the training process."""
    crop: Literal["resized", "shifted"] = "resized"
    """``resized`` takes a random part of the image and resizes it; ``shifted``, as Caffe does, takes 227 x 227 pixels
    from a random place of the image with a shortest edge of 256."""
    smallest_crop: Annotated[Number, within(gt=0, le=1)] = 0.35
    """Smallest share of the image's area that a ``resized`` crop keeps; 1 for the centre crop of validation."""
    flip: StrictBool = True
    """Whether images are mirrored at random."""
    colour: _Share = 0.3
    """Strength of random changes to brightness, contrast and saturation; 0 for none."""
    views: Annotated[StrictInt, within(ge=0, le=1000)] = 0
    """Number of random crops of each image: after that many passes over the file the crops repeat, so that a teacher's
    answers to them can be kept (``train teach``). 0 for new crops in every pass."""
    parts: Annotated[StrictInt, within(ge=1, le=100_000)] = 1
    """Number of epochs in one pass over the training images. Each ends with validation and a checkpoint, so with more
    parts a run on a large file loses less when it is stopped."""


@dataclass(frozen=True)
class StageConfig(KnownKeys):
    """The optimisation of ``[reference]``, ``[compress]`` and ``[finetune]``."""

    epochs: _Count = 30
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """``sgd`` has Nesterov momentum."""
    learning_rate: _Positive = 0.05
    momentum: _LessThanOne = 0.9
    """Used by ``sgd`` only."""
    weight_decay: _NotNegative = 1e-4
    """Not applied to biases and batch normalisation."""
    warmup_epochs: _NotNegative = 1.0
    """Epochs over which the learning rate rises linearly, while it also follows the cosine or the decay."""
    learning_rate_decay: _Share = 0.0
    """Factor on the learning rate after each epoch; 0 for a cosine to zero."""
    label_smoothing: _LessThanOne = 0.0
    ema: _LessThanOne = 0.0
    """Decay of the exponential moving average of the weights, which is evaluated and kept; 0 for no average."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """``fp16`` uses loss scaling."""
    clip: _NotNegative = 0.0
    """Largest norm of the gradient; 0 for no limit."""
    teacher: str = ""
    """A model's id, or ``package.module:function`` for a function that returns a network with the same inputs and
    classes; empty for no teacher."""
    teacher_weight: _Share = 0.5
    """Share of the distillation loss in the whole loss."""
    temperature: _Positive = 2.0
    """Temperature of the distillation loss."""
    answers: _Path | None = None
    """File of a teacher's answers to the views of the training images, which ``train teach`` writes; it takes the place
    of the teacher itself."""
    dropout: _LessThanOne = 0.5
    """Share of fc6's and fc7's outputs that are left out at random in training."""

    @field_validator("answers")
    @classmethod
    def _one_teacher(cls, answers: Path | None, info: ValidationInfo) -> Path | None:
        if answers and info.data.get("teacher"):
            raise Refusal("teacher and answers are both teachers; leave one out.")
        return answers


@dataclass(frozen=True)
class ReferenceConfig(StageConfig):
    """``[reference]``: training of the dense network."""

    initialisation: Literal["torch", "xavier"] = "torch"
    """Weights to begin with: torch's default, or Xavier's uniform ones with zero biases."""


@dataclass(frozen=True)
class TeachConfig(KnownKeys):
    """``[teach]``: a teacher's answers to every view of every training image."""

    teacher: str = ""
    """A model's id, or ``package.module:function`` for a function that returns a network with the same inputs and
    classes."""
    precision: Literal["fp32", "bf16"] = "fp32"


def _no_warmup(value: object) -> float:
    raise Refusal("warmup_epochs is not a key of this section; use learning_rate_decay.")


def _no_average(value: object) -> float:
    raise Refusal("ema is not a key of this section: ranks are chosen from the weights themselves; leave it out.")


@dataclass(frozen=True)
class CompressConfig(StageConfig):
    """``[compress]``: the LC algorithm."""

    epochs: _Count = 1
    """Epochs of one L step."""
    # Not among the keys that a message lists.
    warmup_epochs: SkipJsonSchema[Annotated[float, BeforeValidator(_no_warmup)]] = 0.0
    ema: SkipJsonSchema[Annotated[float, BeforeValidator(_no_average)]] = 0.0
    scheme: Scheme = "scheme_2"
    criterion: Literal["flops", "storage"] = "flops"
    lambda_: Annotated[_NotNegative, Field(alias="lambda")] = 0.25e-4
    """λ of the rank selection, per 10⁶ FLOPs."""
    cost: Literal["true", "original"] = "true"
    """What ``flops`` counts: the MACs of the factors as they run, or the authors' simpler count, which differs for the
    convolutions of scheme 2."""
    normalised: StrictBool = True
    augmented: StrictBool = True
    """Whether to use the augmented Lagrangian rather than the quadratic penalty."""
    steps: Annotated[StrictInt, within(ge=1, le=100_000)] = 30
    """LC steps: the first is a C step alone, each other an L step and a C step."""
    first_mu: Annotated[Number, within(ge=_SMALLEST_MU, le=_LARGEST_MU)] = 1e-3
    mu_growth: Annotated[_Positive, Field(validate_default=True)] = 1.2
    """Factor on μ at each LC step."""
    mu_repeats: Annotated[StrictInt, within(ge=1, le=100)] = 1
    """LC steps with the same μ; the multipliers move after the last of them. ``steps`` counts the different μ."""
    learning_rate_decay: Annotated[Number, within(gt=0, le=1)] = 0.98
    """Factor on the learning rate, which has neither warm-up nor cosine here."""
    decay_restarts: StrictBool = False
    """Whether the factor applies at each epoch, and each L step starts from ``learning_rate`` again; otherwise it
    applies at each LC step."""
    fresh_optimiser: StrictBool = True
    """Whether each L step begins without the momentum of the one before."""

    @field_validator("mu_growth")
    @classmethod
    def _keeps_mu_in_bounds(cls, growth: float, info: ValidationInfo) -> float:
        if "steps" in info.data and "first_mu" in info.data:
            steps, first = info.data["steps"], info.data["first_mu"]
            last = math.log(first) + (steps - 1) * math.log(growth)
            if not math.log(_SMALLEST_MU) <= last <= math.log(_LARGEST_MU):
                raise ValueError(
                    f"a factor that keeps μ between {_SMALLEST_MU:g} and {_LARGEST_MU:g} for all {steps:,} steps from "
                    f"first_mu = {first:g}"
                )
        return growth


@dataclass(frozen=True)
class FinetuneConfig(StageConfig):
    """``[finetune]``: training of the factored network."""

    start: str | tuple[str, ...] = ""
    """Id of a model to start from; empty to start from the network that ``compress`` ended with. A list has an id for
    each of ``ranks_of``."""
    ranks_of: Annotated[str | tuple[str, ...], Field(validate_default=True)] = ""
    """With ``start``: id of the model whose scheme and ranks the network takes; empty for those of ``start``. A list of
    ids trains one set of factors whose slices have these ranks; each batch trains one slice (``nn/nested.py``)."""
    calibration: Annotated[StrictInt, within(ge=0, le=4096)] = 0
    """With ``ranks_of``: number of training images that decide which part of each layer is kept, at 4 MB of memory for
    each image; 0 to let the layer's weights decide."""
    weight_decay_of: Literal["factors", "product"] = "factors"
    """What ``weight_decay`` makes smaller: ‖U‖² + ‖V‖², or ‖UV‖²."""
    frozen_layers: Annotated[StrictInt, within(ge=0, le=len(LAYERS) - 1)] = 0
    """Number of layers, from the first, whose weights and batch normalisation are not trained, which saves time."""

    @field_validator("ranks_of")
    @classmethod
    def _needs_start(cls, models: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        start = info.data.get("start")
        if models and start == "":
            raise Refusal("ranks_of needs start; set both.")
        if isinstance(start, tuple) and (isinstance(models, str) or len(models) != len(start)):
            raise ValueError(f"a list of {counted(len(start), 'id')}, as start is")
        return models

    @field_validator("weight_decay_of")
    @classmethod
    def _one_product(cls, kind: str, info: ValidationInfo) -> str:
        if kind == "product" and isinstance(info.data.get("ranks_of"), tuple):
            raise Refusal('weight_decay_of = "product" goes with one model, not with a list in ranks_of.')
        return kind

    @field_validator("frozen_layers")
    @classmethod
    def _trains_all(cls, count: int, info: ValidationInfo) -> int:
        if count and isinstance(info.data.get("ranks_of"), tuple):
            raise Refusal("frozen_layers goes with one model; a list in ranks_of trains every layer.")
        return count


@dataclass(frozen=True)
class OutputConfig(KnownKeys):
    """``[output]``: the model card that the run produces."""

    family: Name = "own"
    version: Name = "v1"
    format: Literal["int8", "float16", "float32"] = "int8"
    """How weights are stored. ``int8`` has one scale for each output channel."""
    licence: str = "not stated"
    provenance: str = "Trained with this project's own commands."
    note: str = ""


@dataclass(frozen=True)
class RunConfig(KnownKeys):
    """A whole run."""

    folder: _Path
    """Folder for everything that the run writes."""
    data: DataConfig
    teach: TeachConfig = field(default_factory=TeachConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    compress: CompressConfig = field(default_factory=CompressConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    seed: Annotated[StrictInt, within(ge=0, lt=2**32)] = 0


def read_config(path: Path) -> RunConfig:
    """Read a run's TOML file.

    Args:
        path: The file. Relative paths in it start from its folder. By default, ``folder`` is the file's name without
            its suffix.

    Raises:
        UsageError: The file cannot be read or is not TOML, or a key is unknown, missing or has a wrong value; the
            message names it.
    """
    must_exist(path, "a run's TOML file")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); expected a run's TOML file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not text in UTF-8; expected a run's TOML file: save it as UTF-8.") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} {_mistake(text, str(error))}") from error
    except RecursionError as error:
        raise UsageError(f"{path.name} has brackets that are nested too deeply; expected a run's TOML file.") from error
    except ValueError as error:  # Python reads no decimal number of more than 4,300 digits
        raise UsageError(f"{path.name} has a number of more than 4,300 digits; expected a shorter one.") from error
    defaults = {"folder": path.stem, "data": {}}
    config = parse(RunConfig, {**defaults, **data}, path.name, UsageError, section="[{}]")
    base = path.resolve().parent
    files = replace(config.data, train=base / config.data.train, validation=base / config.data.validation)
    return replace(
        config,
        folder=base / config.folder,
        data=files,
        reference=_answers_from(base, config.reference),
        compress=_answers_from(base, config.compress),
        finetune=_answers_from(base, config.finetune),
    )


def _answers_from(base: Path, stage: _Stage) -> _Stage:
    return replace(stage, answers=base / stage.answers) if stage.answers else stage


def _mistake(text: str, problem: str) -> str:
    """Say what is wrong in a text that is not TOML: a key that is given twice, or what the reader says itself."""
    if not re.match("Cannot (overwrite|declare|redefine|mutate)|Duplicate", problem):
        return f"is not TOML ({problem}); expected a run's file."
    place = re.search(r"at line (\d+)", problem)
    lines = text.split("\n")
    number = int(place[1]) if place else len(lines)  # "at end of document"
    # Not the key of an inline table, in which the repeated key may stand anywhere.
    given = re.fullmatch(r"\s*(\[.*?\]|[\w.-]+)\s*(=[^{]*|#.*)?", lines[number - 1])
    key = shown(given[1]) if given else "a key"
    return f"has {key} twice, again in line {number}; expected each key only once: remove one of them."
