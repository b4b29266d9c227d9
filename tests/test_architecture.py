"""The two rules of the design, and what follows from them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TORCH_FREE = (
    "graph",
    "circuit",
    "artifact",
    "circuit_json",
    "view",
    "palette",
    "settings",
    "errors",
    "paths",
    "sparsity",
)


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_from_the_app_to_the_library() -> None:
    for path in sources("discogp"):
        for name in imports(path):
            assert name.split(".")[0] not in ("app", "streamlit"), f"{path.relative_to(ROOT)} imports {name}"


def test_tasks_import_no_model() -> None:
    allowed = ("discogp.tasks", "discogp.errors")
    for path in sources("discogp/tasks"):
        for name in imports(path):
            if name.startswith("discogp"):
                assert name.startswith(allowed), f"{path.relative_to(ROOT)} imports {name}"
            assert name.split(".")[0] not in ("transformers", "transformer_lens"), f"{path} imports {name}"


@pytest.mark.parametrize("module", [*TORCH_FREE, "runs", "export"])
def test_a_saved_circuit_opens_without_torch(module: str) -> None:
    """Measured, not read off: an import of an import would do as much harm."""
    code = f"import sys, discogp.{module}; sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_view_is_long() -> None:
    for path in sources("app/views"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 120, path


def test_no_module_is_a_drawer_for_everything() -> None:
    for path in [*sources("discogp"), *sources("app")]:
        assert path.stem not in ("utils", "helpers", "misc", "common"), path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 450, path
