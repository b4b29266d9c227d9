"""The rules of the house: which room may import which, what a file may be, and that a saved circuit needs no torch.

A room is a top-level file or folder of `discogp/`, or `app/`. Imports count wherever they stand: within functions and
under TYPE_CHECKING too. `python -m tests.test_architecture` prints the figures.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

from tests.places import ROOT

# From the ground up: a room imports only rooms that stand before it here. `__init__` is the face of the library,
# which hands its names to others; nothing within the library goes through it.
ORDER = (
    "errors",
    "reading",
    "paths",
    "versions",
    "terms",
    "registry",
    "circuits",
    "drawing",
    "models",
    "tasks",
    "engine",
    "evaluation",
    "prompts",
    "search",
    "methods",
    "discovery",
    "export",
    "mini",
    "speed",
    "runs",
    "cli",
    "__main__",
    "__init__",
    "app",
)
MOST_ROOMS = 24
# What opens, draws and names a circuit, and what the page imports before it has drawn anything.
WITHOUT_TORCH = (
    *(
        "circuits",
        "drawing",
        "terms",
        "errors",
        "reading",
        "paths",
        "versions",
        "registry",
        "runs",
        "export",
        "methods",
    ),
    *("models.registry", "cli"),
)
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_VIEW = 450, 60, 120


@cache
def modules() -> dict[str, Path]:
    """Every module of the library and the page, by its dotted name."""
    found = {}
    for path in sorted([*(ROOT / "discogp").rglob("*.py"), *(ROOT / "app").rglob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert len(found) > 100
    return found


def imported(path: Path) -> Iterator[str]:
    """Every name that a file imports, wherever in it; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}: imports name the whole way"
            assert node.module is not None
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            own = [name for name in submodules if name in modules()]
            yield from own
            if len(own) < len(submodules):
                yield node.module


@cache
def imports() -> nx.DiGraph:
    """Module -> module."""
    graph = nx.DiGraph()
    for name, path in modules().items():
        graph.add_node(name)
        graph.add_edges_from((name, other) for other in imported(path) if other in modules() and other != name)
    return graph


def room(module: str) -> str:
    first, _, rest = module.partition(".")
    return "app" if first == "app" else rest.partition(".")[0] or "__init__"


def between_rooms() -> set[tuple[str, str]]:
    return {(room(a), room(b)) for a, b in imports().edges if room(a) != room(b)}


def test_the_order_of_rooms_names_every_room() -> None:
    assert {room(module) for module in modules()} == set(ORDER)
    assert len(ORDER) <= MOST_ROOMS


def test_no_room_imports_one_above_it() -> None:
    upward = [(a, b) for a, b in imports().edges if ORDER.index(room(a)) < ORDER.index(room(b))]
    assert upward == []


def test_nothing_imports_in_a_circle() -> None:
    assert list(nx.simple_cycles(imports())) == []


def test_the_page_imports_the_library_and_never_the_reverse() -> None:
    for module, path in modules().items():
        if module.startswith("discogp"):
            tops = {name.split(".")[0] for name in imported(path)}
            assert not tops & {"app", "streamlit"}, module


def test_nothing_in_the_library_goes_through_its_face() -> None:
    assert [a for a, b in imports().edges if b == "discogp" and a.startswith("discogp")] == []


def test_tasks_know_no_model() -> None:
    for module, path in modules().items():
        if room(module) == "tasks":
            names = set(imported(path))
            assert not {name.split(".")[0] for name in names} & {"transformers", "transformer_lens"}, module
            assert not [name for name in names if name.startswith("discogp.models")], module


def test_the_engine_knows_no_method_no_search_and_no_evaluation() -> None:
    reached = {room(b) for a, b in imports().edges if room(a) == "engine"}
    assert not reached & {"methods", "search", "evaluation", "discovery", "prompts"}


def test_methods_do_not_know_one_another() -> None:
    def method(module: str) -> str | None:
        parts = module.split(".")
        return parts[2] if parts[:2] == ["discogp", "methods"] and len(parts) > 2 else None

    shared = {None, "base", "settings"}
    crossed = [(a, b) for a, b in imports().edges if method(a) != method(b) and not {method(b)} <= shared and method(a)]
    assert crossed == []


def test_nothing_outside_a_method_knows_its_insides() -> None:
    """Others may name the settings of DiscoGP; the benchmarks of its steps measure its insides."""
    known = [
        (a, b)
        for a, b in imports().edges
        if b.startswith("discogp.methods.discogp.")
        and not a.startswith(("discogp.methods.discogp", "discogp.speed."))
        and b != "discogp.methods.discogp.settings"
    ]
    assert known == []


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_opens_without_torch(name: str) -> None:
    """Measured, not read off: an import of an import would do as much harm."""
    code = f"import sys, pkgutil, importlib, discogp.{name} as room\n"
    if name in ("circuits", "drawing", "export"):
        code += "for m in pkgutil.walk_packages(room.__path__, room.__name__ + '.'): importlib.import_module(m.name)\n"
    code += "sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_room_says_what_it_is_for() -> None:
    for module, path in modules().items():
        if path.name == "__init__.py":
            assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") > 60, module


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_and_no_function_is_long() -> None:
    for module, path in modules().items():
        assert path.stem not in ("utils", "helpers", "misc", "common"), module
        assert lines(path) <= (MOST_LINES_OF_A_VIEW if module.startswith("app.views.") else MOST_LINES), module
        for name, length in functions(path):
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{module}.{name} has {length} lines"


def figures() -> str:
    """What the README and notes say of the house, from the code as it stands."""
    longest = max(modules().items(), key=lambda item: lines(item[1]))
    function = max(
        ((length, f"{module}.{name}") for module, path in modules().items() for name, length in functions(path))
    )
    circles = len(list(nx.simple_cycles(imports())))
    return (
        f"rooms {len({room(m) for m in modules()})}, imports between rooms {len(between_rooms())}, circles {circles}\n"
        f"longest module {longest[0]} ({lines(longest[1])} lines), longest function {function[1]} ({function[0]} lines)"
    )


if __name__ == "__main__":
    sys.stdout.write(figures() + "\n")
