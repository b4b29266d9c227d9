"""What is known by name, of one kind: tasks, methods, model families, measures, export formats.

An entry registers itself when its module is imported, and a registry imports every module of its packages before it is
first asked. So one new file in the right folder is all that a new entry needs; a program of one's own may call `add`.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from discogp.errors import DiscoGPError

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries of one kind by name, in the order of their names.

    `kind`: what an entry is called in errors. `packages`: dotted names of the packages whose modules register entries.
    `error`: what is raised, with what exists, for a name that is taken or unknown.
    """

    def __init__(self, kind: str, packages: tuple[str, ...], error: type[DiscoGPError]) -> None:
        self.kind, self.packages, self.error = kind, packages, error
        self._entries: dict[str, T] = {}
        self._looked = False

    def add(self, name: str, entry: T) -> T:
        """A name that is taken already raises the registry's error."""
        if name in self._entries:
            raise self.error(f"a {self.kind} named {name!r} is registered already; give the new one another name")
        self._entries[name] = entry
        return entry

    def remove(self, name: str) -> None:
        """Forget an entry; for plug-ins and tests that clean up after themselves."""
        if name not in self:
            raise self.error(f"cannot forget the {self.kind} {name!r}: it is not registered; known: {self.known()}")
        del self._entries[name]

    def get(self, name: str) -> T | None:
        self._look()
        return self._entries.get(name)

    def __getitem__(self, name: str) -> T:
        entry = self.get(name)
        if entry is None:
            near = get_close_matches(str(name), self._entries, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self.error(f"there is no {self.kind} {name!r}; allowed: {self.known()}{hint}")
        return entry

    def __contains__(self, name: object) -> bool:
        self._look()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._look()
        return len(self._entries)

    def values(self) -> tuple[T, ...]:
        return tuple(self._entries[name] for name in self)

    def known(self) -> str:
        return ", ".join(self) or "none"

    def _look(self) -> None:
        if self._looked:
            return
        self._looked = True  # first, since a module that is being imported may ask
        for name in self.packages:
            for module in iter_modules(import_module(name).__path__, f"{name}."):
                import_module(module.name)
