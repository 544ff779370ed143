"""Which package may import which, and where heavy libraries may load: read from the source, so that no import is missed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "lowrank_demo"

# From the ground up: a package may import those named, itself, and nothing else of the project.
MAY_IMPORT: dict[str, set[str]] = {}
for _name, _below in MAY_IMPORT.items():
    pass


def imports(file: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, absolute module and whether it runs when the file is imported, of each import of a file."""
    tree = ast.parse(file.read_text())
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    lazy: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or typing_only:
            lazy.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, node not in lazy
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}", node not in lazy


if __name__ == "__main__":
    from collections import defaultdict

    edges = defaultdict(lambda: defaultdict(list))
    for file in sorted(PACKAGE.rglob("*.py")):
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for line, module, eager in imports(file):
            if module.startswith("lowrank_demo."):
                other = module.split(".")[1]
                if other != own:
                    edges[own][other].append(f"{file.name}:{line}{'' if eager else ' lazy'}")
    for own, others in edges.items():
        print(own)
        for o, w in others.items():
            print("   ", o, w[:6])
