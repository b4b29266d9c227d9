"""Which of two searches is worse, and by how much, beside the spread of the other."""

from __future__ import annotations

import pytest

from tests.benchmarks import seeds

ZERO = {"edge_density": 0.0, "kl": 0.0, "accuracy": 0.0, "complement_accuracy": 0.0, "seconds": 1.0}


@pytest.mark.parametrize(
    ("figure", "ours", "everything", "worse", "spread"),
    [
        ("kl", (0.3, 0.5), (0.1, 0.3), 0.2, 0.2),
        ("accuracy", (0.9, 1.0), (1.0, 1.0), 0.05, 0.0),
        ("complement_accuracy", (0.7, 0.5), (0.4, 0.6), 0.0, 0.0),  # a tenth from chance either way
        ("edge_density", (0.02, 0.02), (0.04, 0.02), -0.01, 0.02),
    ],
)
def test_worse_by(figure: str, ours: tuple[float, ...], everything: tuple[float, ...], worse: float, spread: float):
    of = [[{**ZERO, figure: value} for value in values] for values in (ours, everything)]
    assert seeds.worse_by(figure, *of) == pytest.approx((worse, spread))


@pytest.mark.parametrize(("kl", "within"), [(0.31, True), (0.8, False)])
def test_a_figure_beyond_the_spread_is_told(monkeypatch, tmp_path, capsys, kl: float, within: bool):
    def search(model, task, out, more):
        seed, everything = int(more[more.index("--seed") + 1]), "edges.full_every=1" in more
        return {**ZERO, "kl": 0.1 + 0.2 * seed if everything else kl}

    monkeypatch.setattr(seeds, "search", search)
    assert seeds.compare("mini", "ioi", [0, 1, 2], tmp_path, ()) == within
    told = capsys.readouterr().out
    assert "| `ioi` | every edge | 0.00% (0.00%–0.00%) | 0.300 (0.100–0.500)" in told
    assert "kl: worse by" in told
