"""How far a figure of some prompts, or of some edges, may be from that of all. Plain numbers: no torch.

A share's error is Wilson's: of 32 right answers out of 32 the plain formula would say that nothing is left in doubt.
Source: Wilson 1927, Journal of the American Statistical Association 22.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The interval, within 0–1, that a share lies in of which `n` drawn at random had `hits`; 95 % by default."""
    if n == 0:
        return 0.0, 1.0
    share, more = hits / n, z * z / n
    middle = (share + more / 2) / (1 + more)
    half = z / (1 + more) * math.sqrt(share * (1 - share) / n + more / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_error(hits: int, n: int, population: int) -> float:
    """Standard error, 0–1, of the share that `n` of `population` tell: half of Wilson's interval of one error."""
    low, high = wilson(hits, n, z=1.0)
    return (high - low) / 2 * _left(n, population)


def mean_error(values: NDArray[np.floating], population: int) -> float:
    """Standard error of the mean of all `population` values, of which these [n] are known; infinite of one value."""
    n = len(values)
    if n < 2:
        return 0.0 if population <= n else math.inf
    return float(np.std(values, ddof=1, dtype=np.float64)) / math.sqrt(n) * _left(n, population)


def _left(n: int, population: int) -> float:
    """What is known of a finite whole is in no doubt: the finite population correction, 0 once all are known."""
    return math.sqrt(1 - n / population)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: from −1 to 1, ties at their mean rank; not a number of fewer than two, or where all are alike."""
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second)]
    one, other = (values - values.mean() for values in ranks) if len(first) > 1 else (np.zeros(1), np.zeros(1))
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / scale if scale else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
