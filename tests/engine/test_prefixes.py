"""Prompts that begin alike are computed once up to where they part, and give what each alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp import load_model
from discogp.engine.kernels import activate, linear, product
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.prefixes import Prefixes
from discogp.engine.replacement import Replacement
from discogp.engine.sparse_pass import SparseRunner
from discogp.models.families.table import ARCHITECTURES
from tests.slow_reference import slow_logits
from tests.tiny_models import build_tiny

# Three that begin alike, one twice, one that is another's beginning; 9 stands for what comes after the end.
TOKENS = torch.tensor([[1, 5, 7, 2], [1, 5, 8, 9], [1, 6, 7, 9], [1, 5, 8, 9], [1, 5, 9, 9], [3, 5, 7, 2]])
LAST = torch.tensor([3, 2, 2, 2, 1, 3])
OTHER = torch.tensor([[2, 5, 7, 2], [2, 5, 8, 9], [2, 6, 7, 9], [4, 5, 8, 9], [2, 7, 9, 9], [3, 5, 7, 2]])


def brute(tokens: torch.Tensor, beside: torch.Tensor | None = None) -> list[list[tuple[object, ...]]]:
    """The beginning that ends at every position, of every prompt."""
    other = (tokens if beside is None else beside).tolist()
    rows = [list(zip(*x, strict=True)) for x in zip(tokens.tolist(), other, strict=True)]
    return [[tuple(row[: t + 1]) for t in range(int(last) + 1)] for row, last in zip(rows, LAST, strict=True)]


@pytest.mark.parametrize("beside", [None, OTHER], ids=["alone", "counterfactuals"])
def test_every_beginning_is_there_once(beside: torch.Tensor | None) -> None:
    found, expected = Prefixes.of(TOKENS, LAST, beside), brute(TOKENS, beside)
    assert len(found) == len({beginning for row in expected for beginning in row})
    firsts = list(zip(found.prompts.tolist(), found.positions.tolist(), strict=True))
    assert firsts == sorted(firsts)
    for prompt, row in enumerate(expected):
        for position, beginning in enumerate(row):
            first, at = firsts[found.rows[prompt, position]]
            assert expected[first][at] == beginning
        assert found.ends[prompt] == found.rows[prompt, LAST[prompt]]
    assert not found.whole


def test_where_nothing_is_shared_the_batch_stays_as_it_is() -> None:
    tokens, last = torch.arange(12).view(3, 4), torch.tensor([3, 3, 3])
    found = Prefixes.of(tokens, last)
    assert found.whole
    assert found.rows.tolist() == tokens.tolist()
    x = torch.randn(2, 12, 5)
    assert found.spread(x).equal(x.view(2, 3, 4, 5))
    assert found.gathered(found.spread(x).transpose(0, 1)).equal(x)
    apart = Prefixes.unshared(TOKENS, LAST)
    assert len(apart) == int((LAST + 1).sum())


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny(request.param, tmp_path_factory.mktemp("tiny") / "model"))


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample", "a replacement of unknown tokens"])
def test_runs_equal_the_slow_reference(model: MaskedTransformer, ablation: str) -> None:
    graph = model.graph
    known = ablation in ("zero", "mean", "resample")
    replacement = model.replacement(ablation if known else "resample", TOKENS, OTHER)
    replacements = None
    if replacement is not None:
        if not known:
            replacement = Replacement(model.folded.centre(torch.randn_like(replacement.sources)))
        of_every_place = replacement.sources.expand(-1, *TOKENS.shape, -1)
        replacements = dict(zip(graph.sources, of_every_place, strict=True))
    runner = SparseRunner(graph, model.folded, TOKENS, LAST, replacement)
    rng = np.random.default_rng(0)
    mask = rng.random(graph.n_edges) < 0.25
    base = runner.run(mask)
    toggled = mask.copy()
    toggled[rng.choice(np.flatnonzero(mask), 3)] = False
    for kept, state in ((mask, base), (toggled, runner.run(toggled, base))):
        names = {graph.edges[edge].name for edge in np.flatnonzero(kept)}
        slow = slow_logits(model.weights, graph, names, TOKENS, replacements)[torch.arange(len(TOKENS)), LAST]
        torch.testing.assert_close(model.folded.unembed(state.final), slow, atol=1e-4, rtol=0)
    assert all(len(x) in (1, len(runner.prefixes)) for x in base.everywhere.values())
    shares = {"zero": 13, "mean": 13, "resample": 16}.get(ablation, int((LAST + 1).sum()))
    assert len(runner.prefixes) <= shares


def test_sums_of_many_replacements_do_not_depend_on_what_was_asked_before() -> None:
    sources = torch.randn(70, 1, 1, 3)
    one, other = Replacement(sources), Replacement(sources)
    for n in (70, 33, 16, 17, 1):
        torch.testing.assert_close(one.prefix_sum(n, 1, 1)[0, 0], sources[:n].sum((0, 1, 2)))
    for n in (1, 17, 16, 33, 70):
        assert other.prefix_sum(n, 1, 1).equal(one.prefix_sum(n, 1, 1))


@pytest.mark.parametrize("activation", [None, "gelu", "gelu_tanh", "silu", "relu"])
def test_products_with_an_activation_and_of_a_slice(activation: str | None) -> None:
    """A slice of columns is what oneDNN takes a thousand times as long for."""
    x, weight, bias = torch.randn(7, 5), torch.randn(12, 5), torch.randn(12)
    expected = x @ weight.T + bias
    if activation is not None:
        expected = activate(expected, activation)
    torch.testing.assert_close(linear(x, weight, bias, activation), expected, atol=1e-5, rtol=1e-5)
    wide = torch.randn(5, 30)
    wide[:, 3:15] = weight.T
    torch.testing.assert_close(linear(x, wide[:, 3:15].T, bias, activation), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(product(x[None], weight.T), (x @ weight.T)[None])
    weight.requires_grad_()
    product(x, weight.T).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(12, 5))
