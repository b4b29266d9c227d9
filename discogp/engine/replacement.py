"""What flows along an ablated edge. Axes: source s (P), batch b, position t, tokens n = b·t, residual stream D."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Replacement:
    """x̃: what a source's output is replaced by where its edge is off. `sources` [P, b or 1, t or 1, D], centred."""

    sources: Float[Tensor, "P b_or_1 t_or_1 D"]
    _sums: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def of(self, columns: slice, b: int, t: int) -> Float[Tensor, "c n D"]:
        """[c, n, D] replacements of some sources."""
        chosen = self.sources[columns]
        return chosen.expand(-1, b, t, -1).reshape(chosen.shape[0], b * t, -1)

    def prefix_sum(self, n_sources: int, b: int, t: int) -> Float[Tensor, "1 n D"]:
        """[1, n, D] Σ of the first sources' replacements: the input of a reader whose edges are all off."""
        if n_sources not in self._sums:
            self._sums[n_sources] = self.sources[:n_sources].sum(0, keepdim=True)
        total = self._sums[n_sources]
        return total.expand(-1, b, t, -1).reshape(1, b * t, -1)
