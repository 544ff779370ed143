"""The environment, read once into one frozen value.

Every variable is optional and starts with ``LOWRANK_``; a value that cannot be used raises an error that names it.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import SettingError

_HERE = Path(__file__).resolve().parent
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
"""The app's files: inside an installed package, beside the package in a clone."""
DECODERS = ("auto", "dali-gpu", "dali-cpu", "pillow")
ENGINES = ("torch", "openvino")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Arithmetic:
    """How networks compute."""

    engine: str = "torch"
    """One of ``ENGINES``. OpenVINO is the faster one on a processor and runs on nothing else."""
    precision: str = "fp32"
    """One of ``PRECISIONS``: of the networks' weights and activations. bf16 is faster only where the hardware
    multiplies it (AMX, AVX-512 BF16, tensor cores), and changes a few decisions."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside."""

    cache_dir: Path
    """Where downloaded weights are kept."""
    zoo: Path = ASSETS / "zoo.json"
    """The model cards; weights that a card calls bundled lie beside it."""
    models_dir: Path | None = None
    """Folder with models of one's own, as ``train finetune`` writes them: ``*.card.json`` and weights."""
    hub_repo: str | None = None
    """A Hub repository ``owner/name`` that holds the models as safetensors, asked before the published address."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    decoder: str = "auto"
    """One of ``DECODERS``."""
    arithmetic: Arithmetic = Arithmetic()
    """How networks compute."""
    threads: int = 1
    """Threads for decoding."""
    max_photos: int = 64
    """Photos in one request."""
    max_file_mb: int = 25
    """Megabytes of one uploaded file."""
    max_zip_mb: int = 100
    """Megabytes of one uploaded set of labelled photos."""
    max_request_mb: int = 600
    """Megabytes of one request, all its files together."""
    max_uploads_mb: int = 4_000
    """Megabytes of all uploaded files that are kept at a time; they are deleted after an hour and a half."""
    lmdb_dir: Path | None = None
    """Folder whose LMDB files visitors may validate on, by name; None for one in ``cache_dir``."""
    max_megapixels: int = 64
    """Millions of pixels of one photo, read from its header before it is decoded."""
    models_in_memory: int = 4
    """Loaded networks kept, the least recently used one leaving first."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            SettingError: A variable cannot be used; the message names it.
        """
        env = {k: v.strip() for k, v in (os.environ if environ is None else environ).items() if v.strip()}
        hub_repo = env.get("LOWRANK_HUB_REPO")
        if hub_repo and (hub_repo.count("/") != 1 or hub_repo.startswith("/") or hub_repo.endswith("/")):
            raise SettingError(f"LOWRANK_HUB_REPO is {hub_repo!r}; expected a repository as owner/name.")
        zoo = Path(env.get("LOWRANK_ZOO", cls.zoo)).expanduser()
        if not zoo.is_file():
            raise SettingError(f"LOWRANK_ZOO names {zoo}, which is not a file; expected a zoo.json of model cards.")
        return cls(
            cache_dir=_writable_cache(env),
            zoo=zoo,
            models_dir=_folder(env, "LOWRANK_MODELS_DIR"),
            hub_repo=hub_repo,
            device=_device(env),
            decoder=_choice(env, "LOWRANK_DECODER", "auto", DECODERS),
            arithmetic=_arithmetic(env),
            threads=_whole(env, "LOWRANK_THREADS", usable_cpus(), 1, 256),
            max_photos=_whole(env, "LOWRANK_MAX_PHOTOS", cls.max_photos, 1, 10_000),
            max_file_mb=_whole(env, "LOWRANK_MAX_FILE_MB", cls.max_file_mb, 1, 2_000),
            max_zip_mb=_whole(env, "LOWRANK_MAX_ZIP_MB", cls.max_zip_mb, 1, 10_000),
            max_request_mb=_whole(env, "LOWRANK_MAX_REQUEST_MB", cls.max_request_mb, 1, 100_000),
            max_uploads_mb=_whole(env, "LOWRANK_MAX_UPLOADS_MB", cls.max_uploads_mb, 1, 1_000_000),
            lmdb_dir=_folder(env, "LOWRANK_LMDB_DIR"),
            max_megapixels=_whole(env, "LOWRANK_MAX_MEGAPIXELS", cls.max_megapixels, 1, 2_000),
            models_in_memory=_whole(env, "LOWRANK_MODELS_IN_MEMORY", cls.models_in_memory, 1, 100),
        )


def usable_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_openvino() -> bool:
    """Whether the optional engine is installed; it is not loaded for that."""
    return importlib.util.find_spec("openvino") is not None


def _writable_cache(env: Mapping[str, str]) -> Path:
    """The cache folder asked for, else the user's own, else (a read-only home, as on some hosts) one in /tmp."""
    asked = env.get("LOWRANK_CACHE_DIR")
    if asked:
        path = Path(asked).expanduser().absolute()
        if not _can_make(path):
            raise SettingError(f"LOWRANK_CACHE_DIR is {path}, which cannot be written; expected a folder of your own.")
        return path
    base = env.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path(env.get("HOME", "~")).expanduser() / ".cache"
    path = home / "lowrank-alexnet"
    if _can_make(path):
        return path
    return Path(tempfile.gettempdir()) / f"lowrank-alexnet-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def _can_make(path: Path) -> bool:
    """Whether ``path`` is, or could be made, a folder that this process can write."""
    for folder in (path, *path.parents):
        if folder.exists():
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


def _folder(env: Mapping[str, str], name: str) -> Path | None:
    if name not in env:
        return None
    path = Path(env[name]).expanduser().absolute()
    if not path.is_dir():
        raise SettingError(f"{name} is {path}, which is not a folder; expected one that is there.")
    return path


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name, default).lower()
    if value not in allowed:
        raise SettingError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
    return value


def _device(env: Mapping[str, str]) -> str:
    value = env.get("LOWRANK_DEVICE", "auto").lower()
    kind, _, index = value.partition(":")
    if value not in ("auto", "cpu", "cuda") and not (kind == "cuda" and index.isdigit()):
        raise SettingError(f"LOWRANK_DEVICE is {value!r}; expected auto, cpu, cuda or cuda:N.")
    return value


def _arithmetic(env: Mapping[str, str]) -> Arithmetic:
    engine = _choice(env, "LOWRANK_ENGINE", "torch", ENGINES)
    if engine == "openvino":
        if not has_openvino():
            raise SettingError(
                "LOWRANK_ENGINE is openvino, which is not installed; expected torch, or `pip install -e '.[openvino]'`."
            )
        device = _device(env)
        if device.startswith("cuda"):
            raise SettingError(
                f"LOWRANK_ENGINE is openvino, which runs on the processor, and LOWRANK_DEVICE is {device}; set it to "
                "cpu, or the engine to torch."
            )
    return Arithmetic(engine, _choice(env, "LOWRANK_PRECISION", "fp32", PRECISIONS))


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingError(f"{name} is {text!r}; expected a whole number from {low} to {high}.")
    return int(text)
