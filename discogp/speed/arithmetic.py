"""How many multiplications an action is made of: what a ratio of times would be if nothing else took any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FACTORS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2), "_linear_pointwise": (0, 1)}
"""Every operator that multiplies matrices -> which of its arguments they are."""


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.split("::")[1]
        places = _FACTORS.get(name.removesuffix("_"))
        if places is not None:
            left, right = (args[place] for place in places)
            # A layer's weights come as [outputs, inputs].
            self.total += left.numel() * (right.shape[0] if name == "_linear_pointwise" else right.shape[-1])
        return func(*args, **(kwargs or {}))


def multiplications(action: Callable[[], object]) -> int:
    """Those of all products of matrices in `action`, on the way back too. What other threads do is not seen, nor
    attention's own products of queries, keys and values, nor rows fetched one by one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a step shares its work out among as many threads of its own
    try:
        with _Counter() as counter:
            action()
    finally:
        torch.set_num_threads(threads)
    return counter.total
