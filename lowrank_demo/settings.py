"""The environment variables, read once into one frozen value.

Every variable is optional and its name starts with ``LOWRANK_``. A value that cannot be used raises an error that names
the variable. So does an unknown name: a misspelt one would otherwise be ignored.
"""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from .errors import SettingError
from .runtime.files import has_long_name
from .runtime.schema import Refusal, matching, parse, within

_HERE = Path(__file__).resolve().parent
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
"""The app's files: inside an installed package, beside the package in a clone."""

Engine = Literal["torch", "openvino"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def usable_cpus() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_openvino() -> bool:
    """Return whether the optional engine is installed, without loading it."""
    return importlib.util.find_spec("openvino") is not None


def _variable(name: str) -> str:
    """Return the environment variable that sets this field of the settings."""
    return f"LOWRANK_{name.upper()}"


def _place(check: Callable[[Path], bool], expected: str) -> AfterValidator:
    """Return a validator that makes a path absolute and refuses it unless ``check`` is true of it."""

    def checked(path: Path) -> Path:
        path = Path(os.path.expanduser(path)).absolute()
        try:
            good = check(path)
        except OSError:  # such as a name that is too long, or a folder that this process may not look into
            good = False
        if not good:
            raise ValueError(expected)
        return path

    return AfterValidator(checked)


def _digits(text: str) -> str:
    """Refuse what Python's ``int`` takes besides digits, such as ``+5`` and ``1_0``."""
    if not re.fullmatch("[0-9]+", text):
        raise ValueError("a whole number")
    return text


def _writable(path: Path) -> bool:
    """Return whether ``path`` is, or could be made, a folder that this process can write to."""
    # A ~ is still there if it names nobody's home.
    if has_long_name(path) or any(part.startswith("~") for part in path.parts):
        return False
    for folder in (path, *path.parents):
        if os.access(folder, os.F_OK):
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


_Folder = Annotated[Path, _place(Path.is_dir, "an existing folder")]
_AnyCase = BeforeValidator(str.lower)
_Digits = BeforeValidator(_digits)


@dataclass(frozen=True)
class Arithmetic:
    """How networks compute."""

    engine: str = "torch"
    """``torch`` or ``openvino``, which is faster than torch on a CPU and runs only there."""
    precision: str = "fp32"
    """``fp32`` or ``bf16``, for weights and activations. bf16 is faster only on hardware that multiplies it (AMX,
    AVX-512 BF16, tensor cores), and changes a few predictions."""


@dataclass(frozen=True)
class Settings:
    """Everything that the environment can set: each field by the variable ``LOWRANK_`` and its name in capitals."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=_variable)

    cache_dir: Annotated[Path, _place(_writable, "a folder that this process can write to")]
    """Folder for downloaded weights."""
    zoo: Annotated[Path, _place(Path.is_file, "an existing file of model cards")] = ASSETS / "zoo.json"
    """The model cards, with the bundled weights beside them."""
    models_dir: _Folder | None = None
    """Folder with the user's own models as ``train finetune`` writes them: ``*.card.json`` and weights."""
    hub_repo: Annotated[str, matching("[^/]+/[^/]+", "a repository as owner/name")] | None = None
    """Hub repository that holds the models as safetensors. It is tried before the published address."""
    device: Annotated[str, _AnyCase, matching("auto|cpu|cuda(:[0-9]{1,3})?", "auto, cpu, cuda or cuda:N")] = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    decoder: Annotated[Literal["auto", "dali-gpu", "dali-cpu", "pillow"], _AnyCase] = "auto"
    """Decoder of photos; ``auto`` takes the fastest that works here."""
    engine: Annotated[Engine, _AnyCase] = "torch"
    precision: Annotated[Literal["fp32", "bf16"], _AnyCase] = "fp32"
    threads: Annotated[int, _Digits, within(ge=1, le=256)] = field(default_factory=usable_cpus)
    """Threads for decoding."""
    max_photos: Annotated[int, _Digits, within(ge=1, le=10_000)] = 64
    """Photos in one request."""
    max_file_mb: Annotated[int, _Digits, within(ge=1, le=2_000)] = 25
    """Megabytes of one uploaded file."""
    max_zip_mb: Annotated[int, _Digits, within(ge=1, le=10_000)] = 100
    """Megabytes of one uploaded set of labelled photos."""
    max_request_mb: Annotated[int, _Digits, within(ge=1, le=100_000)] = 600
    """Megabytes of all files of one request."""
    max_uploads_mb: Annotated[int, _Digits, within(ge=1, le=1_000_000)] = 4_000
    """Megabytes of all uploaded files kept at a time; each is deleted after an hour and a half."""
    lmdb_dir: _Folder | None = None
    """Folder whose LMDB files visitors may validate on, by name; None for one in ``cache_dir``."""
    max_megapixels: Annotated[int, _Digits, within(ge=1, le=2_000)] = 64
    """Millions of pixels of one photo, read from its header before it is decoded."""
    max_models_mb: Annotated[int, _Digits, within(ge=1, le=1_000_000)] = 1000
    """Megabytes of loaded networks to keep; the least recently used one is dropped first."""

    @field_validator("engine")
    @classmethod
    def _runs_here(cls, engine: Engine, info: ValidationInfo) -> Engine:
        device = info.data.get("device", "auto")
        if engine == "openvino" and not has_openvino():
            raise Refusal(
                "LOWRANK_ENGINE is openvino, which is not installed; run `pip install openvino`, or set LOWRANK_ENGINE "
                "to torch."
            )
        if engine == "openvino" and device.startswith("cuda"):
            raise Refusal(
                f"LOWRANK_ENGINE is openvino, which runs only on a CPU, but LOWRANK_DEVICE is {device}; set "
                "LOWRANK_DEVICE to cpu, or LOWRANK_ENGINE to torch."
            )
        return engine

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environ: Variables; None for those of this process. An empty value counts as not set.

        Raises:
            SettingError: A variable cannot be used, or is not known; the message names it.
        """
        env = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
        values = {name: value for name, value in env.items() if name.startswith("LOWRANK_") and value}
        known = [_variable(setting.name) for setting in fields(cls)]
        unknown = sorted(values.keys() - known)
        if unknown:
            raise SettingError(f"{unknown[0]} is not a setting; expected one of: {', '.join(known)}.")
        if "LOWRANK_CACHE_DIR" not in values:
            values["LOWRANK_CACHE_DIR"] = str(_default_cache(env))
        return parse(cls, values, "", SettingError)

    @property
    def arithmetic(self) -> Arithmetic:
        """How networks compute."""
        return Arithmetic(self.engine, self.precision)


def _default_cache(env: Mapping[str, str]) -> Path:
    """Return the user's cache folder, or one in /tmp if the home folder is read-only, as on some hosts."""
    base = env.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path(env.get("HOME") or os.path.expanduser("~")) / ".cache"
    path = home / "lowrank-alexnet"
    if _writable(path):
        return path
    user = os.getuid() if hasattr(os, "getuid") else None
    fallback = Path(tempfile.gettempdir()) / f"lowrank-alexnet-{'cache' if user is None else user}"
    if user is not None and not _private(fallback, user):
        raise SettingError(
            f"{path} cannot be written, and {fallback} belongs to another user or can be written by others; set "
            "LOWRANK_CACHE_DIR to a folder of your own."
        )
    return fallback


def _private(folder: Path, user: int) -> bool:
    """Make a folder in /tmp if it is missing; return whether only this user can write to it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
