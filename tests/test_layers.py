"""Which package may import which, and where heavy libraries may be imported, read from the source with ``ast``."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    "publish": _NN,
    "serve": _SERVED,
    "charts": _SERVED,
    "ui": _SERVED | {"serve", "charts"},
    "commands": _SERVED | {"serve", "charts", "ui", "train", "publish"},
    "cli": {"errors", "commands"},
    "__main__": {"cli"},
    # low_rank_alexnet, which imports inside the function.
    "__init__": _NN,
}

MAY_LOAD: dict[str, set[str]] = {
    # A heavy library, and the parts or files that may import it; inside a function any part may.
    "torch": {"nn", "lowrank", "decode", "classify", "validate", "train", "publish", "runtime/processes.py"},
    "nvidia": {"decode"},
    "gradio": {"ui"},
    "plotly": {"charts", "ui"},
    "openvino": {"nn"},
    "PIL": {"decode", "data", "classify", "train", "ui"},
    "httpx": {"models"},
    "starlette": {"serve", "ui"},
    "pydantic": {"models", "settings", "lowrank", "data", "train", "runtime"},
    "huggingface_hub": {"nn", "publish"},
}


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
        self.place = f"{file.relative_to(ROOT)}:{line}"


def imports_of(file: Path) -> Iterator[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
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
        if root == "tests" or (root == "lowrank_demo" and rest.split(".")[0] not in MAY_IMPORT[one.part] | {one.part}):
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
        if re.search(r"import_module|__import__", path.read_text(encoding="utf-8"))
    }
    assert found == {"train/teacher.py"}


def _name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_heavy_libraries_load_where_they_are_used(imports: list[Import]) -> None:
    wrong = [
        f"{one.place} imports {one.module} when it is loaded; expected it inside a function"
        for one in imports
        if one.eager and not {one.part, one.file} & MAY_LOAD.get(one.module.split(".")[0], {one.part})
    ]
    assert not wrong, "\n".join(wrong)
