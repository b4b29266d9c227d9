"""Which pages there are: the files of `views/`, in the order they ask for. A new page is one new file there.

A view's docstring begins with the page's title and a colon; its constant PAGE says what the menu shows of it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

VIEWS = Path(__file__).resolve().parent / "views"


@dataclass(frozen=True)
class Page:
    """`file` is relative to `app/`; `place`: where it stands in the menu, the first being what opens."""

    file: str
    title: str
    icon: str
    place: int


def pages() -> tuple[Page, ...]:
    """Read from the files as text: a view is a script, which Streamlit alone may run."""
    found = [_page(path) for path in VIEWS.glob("*.py") if path.stem != "__init__"]
    return tuple(sorted(found, key=lambda page: (page.place, page.title)))


def _page(path: Path) -> Page:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    title = (ast.get_docstring(tree) or "").partition(":")[0].strip()
    stated = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id == "PAGE"
    }
    asked = stated.get("PAGE", {})
    name = path.stem.replace("_", " ").capitalize()
    return Page(f"views/{path.name}", title or name, asked.get("icon", ":material/web:"), asked.get("place", 100))
