"""Lanes: parts of a batch side by side give what the batch gives, in the same order every time."""

from __future__ import annotations

import threading

import pytest
import torch

from discogp.engine.lanes import Lanes
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig
from tests.random_task import prompts_of
from tests.tiny_models import build_tiny_gpt2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("gpt2")))


def test_results_keep_the_order_and_threads_get_their_share() -> None:
    before = torch.get_num_threads()
    gate = threading.Barrier(2)

    def work(item: int) -> tuple[int, int, str]:
        gate.wait(timeout=10)  # passed only by two threads at once
        return item, torch.get_num_threads(), threading.current_thread().name

    found = Lanes(2).map(work, [1, 2])
    assert [item for item, _, _ in found] == [1, 2]
    assert all(threads == max(1, before // 2) for _, threads, _ in found)
    assert len({name for _, _, name in found}) == 2
    assert torch.get_num_threads() == before


def test_an_error_in_a_lane_is_raised() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    with pytest.raises(ValueError, match="two"):
        Lanes(2).map(work, [1, 2])


def test_few_prompts_or_a_gpu_have_one_lane() -> None:
    assert Lanes.for_batch(4, torch.device("cpu")).n == 1
    assert Lanes.for_batch(512, torch.device("cuda")).n == 1


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_lanes_add_up_to_the_whole_batch(model: MaskedTransformer, ablation: str) -> None:
    prompts = prompts_of(model, 10, seed=0)
    full = model.logits(prompts.tokens, prompts.last).log_softmax(-1)
    found = []
    for n in (1, 3, 3):
        search = SearchConfig(batch_size=10, ablation=ablation, edges=EdgeConfig(completeness=0.5))
        phase = EdgePhase(model, prompts, search, torch.Generator().manual_seed(0))
        phase.lanes, phase.workspaces = Lanes(n), [type(phase.workspaces[0])() for _ in range(n)]
        phase.begin(0)
        losses = phase.accumulate(prompts, full, 1.0)
        found.append((phase.gradients()[0], losses.faithfulness, losses.completeness))
    for one, three, again in zip(*found, strict=True):
        torch.testing.assert_close(three, one, atol=1e-6, rtol=1e-4)
        assert torch.equal(three, again)
