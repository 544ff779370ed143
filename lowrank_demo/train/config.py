"""One TOML file describes a run: data, the three stages, and what comes out. Read once, checked by name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..errors import UsageError
from ..models.architecture import LAYERS, SCHEMES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Section = TypeVar("Section")


@dataclass(frozen=True)
class DataConfig:
    """``[data]``: LMDB files of this project's format, and the augmentation of the training images."""

    train: Path
    validation: Path
    batch_size: int = 256
    """Images in a batch, over all processes together."""
    workers: int = 2
    """Decoding processes for each training process; 0 decodes in it."""
    smallest_crop: float = 0.35
    """Smallest share of the image's area that a random crop keeps; 1 takes the centre crop."""
    flip: bool = True
    colour: float = 0.3
    """Strength of brightness, contrast and saturation changes; 0 for none."""
    smallest_edge: int = 0
    """Every other photo is first shrunk to a random shortest edge from this up to its own; 0 for none. Photos from
    sources of different sharpness then differ in it no longer, so that it is not learned in place of the things."""
    lowest_quality: int = 0
    """Every other photo is first compressed as JPEG, quality random from this up to 95; 0 for none."""


@dataclass(frozen=True)
class StageConfig:
    """``[reference]``, and the optimisation of ``[compress]`` and ``[finetune]``."""

    epochs: int = 30
    optimiser: str = "sgd"
    """``sgd`` (Nesterov momentum) or ``adamw``."""
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """Not applied to biases and batch normalisation."""
    warmup_epochs: float = 1.0
    """Linear; then a cosine to zero."""
    label_smoothing: float = 0.0
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated and kept; 0 for none."""
    precision: str = "fp32"
    """``fp32``, ``bf16`` or ``fp16`` (with loss scaling)."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 for no limit."""
    teacher: str = ""
    """A model's id, or ``package.module:function`` that returns a network with the same inputs and classes; empty for
    none."""
    teacher_weight: float = 0.5
    """Share of the distillation loss."""
    temperature: float = 2.0


@dataclass(frozen=True)
class CompressConfig(StageConfig):
    """``[compress]``: the LC algorithm. ``epochs`` are those of one L step."""

    epochs: int = 1
    scheme: str = "scheme_2"
    criterion: str = "flops"
    """``flops`` or ``storage``."""
    lambda_: float = 0.25e-4
    """For each 10⁶ FLOPs."""
    normalised: bool = True
    augmented: bool = True
    """Augmented Lagrangian; else quadratic penalty."""
    steps: int = 30
    first_mu: float = 1e-3
    mu_growth: float = 1.2
    learning_rate_decay: float = 0.98
    """Factor on the learning rate at each LC step; there is no cosine here."""


@dataclass(frozen=True)
class FinetuneConfig(StageConfig):
    """``[finetune]``: the factored network."""

    start: str = ""
    """Id of a model to start from, in place of the network that ``compress`` ended with."""
    ranks_of: str = ""
    """With ``start``: id of the model whose scheme and ranks the network takes; empty for those of ``start``."""
    calibration: int = 0
    """With ``ranks_of``: so many training images decide which part of each layer is kept; 0 lets its weights decide."""
    frozen_layers: int = 0
    """So many of the first layers, with their batch normalisation, stay as they are: less work for each image."""
    share_of_start: float = 0.0
    """Share of the starting weights in the weights that are kept, the rest being the trained ones (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022): less is forgotten of what the training photos do not show."""
    earlier: str = ""
    """With ``share_of_start``: id of the model, of the same scheme and ranks, whose weights take the start's place in
    that share, where the start is itself the end of a training from them; empty for the start."""


@dataclass(frozen=True)
class OutputConfig:
    """``[output]``: the model card that the run ends in."""

    family: str = "own"
    version: str = "v1"
    format: str = "int8"
    """Weights as ``int8`` (one scale for each output channel), ``float16`` or ``float32``."""
    licence: str = "not stated"
    provenance: str = "Trained with this project's own commands."
    note: str = ""
    pre_shrink: int = 0
    """The card's ``pre_shrink``: photos are brought to this shortest edge first; 0 for none."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run; everything it writes lies in ``folder``."""

    folder: Path
    data: DataConfig
    reference: StageConfig = field(default_factory=StageConfig)
    compress: CompressConfig = field(default_factory=CompressConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    seed: int = 0


def read_config(path: Path) -> RunConfig:
    """Read a run's file; relative paths in it count from its own folder.

    Raises:
        UsageError: It is not TOML, or a section or key is unknown, missing or of the wrong kind; the message names it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); expected a run's TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not TOML ({error}); expected a run's file.") from error
    kinds = {
        "data": DataConfig,
        "reference": StageConfig,
        "compress": CompressConfig,
        "finetune": FinetuneConfig,
        "output": OutputConfig,
    }
    base = path.resolve().parent
    unknown = sorted(set(data) - set(kinds) - {"folder", "seed"})
    if unknown:
        raise UsageError(f"{path.name} has {unknown[0]!r}; expected folder, seed and the sections {', '.join(kinds)}.")
    sections: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name in data or name == "data":
            sections[name] = _section(kind, data.get(name, {}), f"{path.name}, [{name}]", base)
    folder, seed = data.get("folder", path.stem), data.get("seed", 0)
    if not isinstance(folder, str) or not isinstance(seed, int):
        raise UsageError(f"{path.name}: folder is {folder!r} and seed {seed!r}; expected a text and a whole number.")
    config = RunConfig(folder=base / folder, seed=seed, **sections)
    _check(config, path.name)
    return config


def _section(kind: type[Section], raw: object, where: str, base: Path) -> Section:
    """One section as its dataclass; a TOML key ``lambda`` is the field ``lambda_``."""
    if not isinstance(raw, Mapping):
        raise UsageError(f"{where} is {raw!r}; expected a section.")
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = "lambda_" if key == "lambda" else key
        if name not in hints:
            known = ", ".join(hint.rstrip("_") for hint in hints)
            raise UsageError(f"{where} has {key!r}; expected one of: {known}.")
        wanted = hints[name]
        if wanted is Path and isinstance(value, str):
            value = base / value
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise UsageError(f"{where}: {key} is {value!r}; expected {wanted.__name__}.")
        values[name] = value
    missing = [
        f.name
        for f in dataclasses.fields(kind)  # pyright: ignore[reportArgumentType]
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{where} lacks {missing[0]!r}.")
    return kind(**values)


def _check(config: RunConfig, name: str) -> None:
    """The values that are not of any number or text."""
    choices: list[tuple[str, str, tuple[str, ...]]] = [
        ("[compress] scheme", config.compress.scheme, SCHEMES),
        ("[compress] criterion", config.compress.criterion, ("flops", "storage")),
        ("[output] format", config.output.format, ("int8", "float16", "float32")),
    ]
    positive: list[tuple[str, float]] = [
        ("[data] batch_size", config.data.batch_size),
        ("[compress] steps", config.compress.steps),
        ("[compress] first_mu", config.compress.first_mu),
        ("[compress] mu_growth", config.compress.mu_growth),
    ]
    for section, stage in (
        ("reference", config.reference),
        ("compress", config.compress),
        ("finetune", config.finetune),
    ):
        choices.append((f"[{section}] optimiser", stage.optimiser, ("sgd", "adamw")))
        choices.append((f"[{section}] precision", stage.precision, ("fp32", "bf16", "fp16")))
        positive += [(f"[{section}] epochs", stage.epochs), (f"[{section}] learning_rate", stage.learning_rate)]
    for what, value, allowed in choices:
        if value not in allowed:
            raise UsageError(f"{name}, {what} is {value!r}; expected one of {', '.join(allowed)}.")
    for what, number in positive:
        if not number > 0:
            raise UsageError(f"{name}, {what} is {number}; expected more than 0.")
    if config.finetune.ranks_of and not config.finetune.start:
        raise UsageError(f"{name}, [finetune] has ranks_of but no start; expected both, or neither.")
    whole: list[tuple[str, int, int]] = [
        ("[data] smallest_edge", config.data.smallest_edge, 10_000),
        ("[data] lowest_quality", config.data.lowest_quality, 95),
        ("[finetune] calibration", config.finetune.calibration, 100_000),
        ("[finetune] frozen_layers", config.finetune.frozen_layers, len(LAYERS) - 1),
        ("[output] pre_shrink", config.output.pre_shrink, 255),
    ]
    for what, number, most in whole:
        if not 0 <= number <= most:
            raise UsageError(f"{name}, {what} is {number}; expected 0 to {most}.")
    if not 0 <= config.finetune.share_of_start < 1:
        raise UsageError(
            f"{name}, [finetune] share_of_start is {config.finetune.share_of_start}; expected at least 0, less than 1."
        )
    if config.finetune.earlier and not config.finetune.share_of_start:
        raise UsageError(f"{name}, [finetune] has earlier but no share_of_start; expected both, or neither.")
    if not 0 < config.data.smallest_crop <= 1:
        raise UsageError(
            f"{name}, [data] smallest_crop is {config.data.smallest_crop}; expected more than 0, at most 1."
        )
