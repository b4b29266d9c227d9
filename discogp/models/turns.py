"""Long work that others wait beside: where it pauses to let them go first, or ends because nobody wants it any more.

What computes for seconds calls `give_way` between two steps: loading, and every pass of a model over a batch. Whoever
runs it in a thread of its own says what that does there; everywhere else it does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_here = threading.local()


def give_way() -> None:
    """Between two steps of long work in this thread. Raises what ends the work."""
    ask = getattr(_here, "ask", None)
    if ask is not None:
        ask()


@contextmanager
def giving_way(ask: Callable[[], None]) -> Iterator[None]:
    """Work in this thread calls `ask` between its steps: it may wait there, or raise to end the work."""
    before, _here.ask = getattr(_here, "ask", None), ask
    try:
        yield
    finally:
        _here.ask = before
