"""What flows along an ablated edge. Axes: source s (P), batch b, position t, tokens n = b·t, residual stream D."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from discogp.engine.prefixes import Prefixes

# Sums of so many sources, and of two, three … times as many, are what sums of more are made from.
_PART = 16


@dataclass(frozen=True)
class Replacement:
    """x̃: what a source's output is replaced by where its edge is off. `sources` [P, b or 1, t or 1, D], centred."""

    sources: Float[Tensor, "P b_or_1 t_or_1 D"]
    tokens: Int[Tensor, "b t"] | None = None
    """What `sources` are the outputs on, where they are those on other prompts."""
    _sums: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def of(self, columns: slice, b: int, t: int) -> Float[Tensor, "c n D"]:
        """[c, n, D] replacements of some sources."""
        chosen = self.sources[columns]
        return chosen.expand(-1, b, t, -1).reshape(chosen.shape[0], b * t, -1)

    def on(self, rows: list[int], length: int) -> Replacement:
        """The same on some of the rows [b] alone, and on so many positions."""
        if self.uniform:
            return self
        tokens = None if self.tokens is None else self.tokens[rows, :length]
        return Replacement(self.sources[:, rows, :length], tokens)

    def at(self, column: int, prefixes: Prefixes) -> Float[Tensor, "n D"]:
        """[n, D] replacements of one source at the different beginnings of a batch's prompts; [1, D] if all are one."""
        return self._at(self.sources[column], prefixes)

    def prefix_sum_at(self, n_sources: int, prefixes: Prefixes) -> Float[Tensor, "n D"]:
        """[n, D] the same of the sum of the first sources; [1, D] if all are one."""
        return self._at(self._sum(n_sources), prefixes)

    @property
    def uniform(self) -> bool:
        return self.sources.shape[1:3] == (1, 1)

    def _at(self, x: Float[Tensor, "b t D"], prefixes: Prefixes) -> Float[Tensor, "n D"]:
        b, t, _ = x.shape
        if b == t == 1:
            return x[0]
        return x[prefixes.prompts if b > 1 else 0, prefixes.positions if t > 1 else 0]

    def prefix_sum(self, n_sources: int, b: int, t: int) -> Float[Tensor, "1 n D"]:
        """[1, n, D] Σ of the first sources' replacements: the input of a reader whose edges are all off."""
        total = self._sum(n_sources)
        return total.expand(b, t, -1).reshape(1, b * t, -1)

    def _sum(self, n_sources: int) -> Float[Tensor, "b_or_1 t_or_1 D"]:
        if n_sources not in self._sums:
            # From the same parts whoever asked for what before, so that the same run gives the same to the last bit.
            known = (n_sources - 1) // _PART * _PART
            more = self.sources[known:n_sources].sum(0)
            self._sums[n_sources] = self._sum(known) + more if known else more
        return self._sums[n_sources]
