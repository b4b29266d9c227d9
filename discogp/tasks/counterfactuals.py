"""Counterfactual prompts for tasks whose items come without: another item of the same split.

An item's counterfactual is another prompt of as many tokens, after which one of the item's wrong answers is right and
none of its right ones: "Susan revealed" (herself) and "The girls revealed" (themselves), or two subjects of one
relation. Of several the one with the most tokens in common, position by position, so that little else differs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from discogp.tasks.encoded import Prompts


def paired(prompts: Prompts) -> tuple[Prompts, list[int]]:
    """The prompts with a counterfactual each, and the places of those for which there is none (their own prompt
    stands in for it, so that it must not be used)."""
    tokens = prompts.tokens.clone()
    lengths = prompts.lengths[: len(prompts)]
    alone: list[int] = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero().flatten()
        right, wrong = prompts.correct[rows], prompts.wrong[rows]
        fits = _any_shared(wrong, right) & ~_any_shared(right, right)
        own = prompts.tokens[rows, :length]
        for place, row in enumerate(rows.tolist()):
            others = fits[place].nonzero().flatten()
            if not len(others):
                alone.append(row)
                continue
            common = (own[others] == own[place]).sum(1)
            # The beginnings of the prompt's own answers stay behind it.
            tokens[prompts.rows_of([row]), :length] = own[others[common.argmax()]]
    return replace(prompts, counterfactual=tokens), sorted(alone)


def _any_shared(a: Tensor, b: Tensor) -> Tensor:
    """[n, n] bool: whether row i of a [n, x] and row j of b [n, y] have a token id in common; −1 is none."""
    found = torch.zeros(len(a), len(b), dtype=torch.bool, device=a.device)
    for column in range(b.shape[1]):
        ids = b[:, column]
        for start in range(0, len(a), 256):
            found[start : start + 256] |= (a[start : start + 256, :, None] == ids).any(1) & (ids >= 0)
    return found
