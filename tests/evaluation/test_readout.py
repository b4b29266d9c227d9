"""Answers read off a part of the vocabulary at a time are those of the plain logits, however wide the parts are."""

from __future__ import annotations

import pytest
import torch

from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.evaluation import readout
from discogp.evaluation.readout import read_out
from discogp.tasks import Example, Prompts
from tests.tiny_models import build_tiny, build_tiny_gpt2

VOCABULARY, N, CIRCUITS = 2100, 6, 40


@pytest.fixture(scope="module", params=["gpt2", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    """More tokens than two blocks have; Gemma 2's logits are capped as well."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "gpt2":
        return load_model(build_tiny_gpt2(folder, n_layer=1, vocab_size=VOCABULARY))
    settings = {"vocab_size": VOCABULARY, "num_hidden_layers": 1, "layer_types": ["full_attention"]}
    return load_model(build_tiny("Gemma2ForCausalLM", folder, **settings))


@pytest.mark.parametrize("width", [1024, 300, VOCABULARY, None])
def test_blocks_say_what_plain_logits_say(
    model: MaskedTransformer, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if width is not None:
        monkeypatch.setattr(readout, "_WIDTH", width)
    generator = torch.Generator().manual_seed(11)  # not the weights' own
    finals = 3 * torch.randn(CIRCUITS, N, model.config.d_model, generator=generator)
    logits = model.folded.unembed(finals.view(CIRCUITS * N, -1)).view(CIRCUITS, N, VOCABULARY)
    top = logits.argmax(-1)
    assert len(set((top // 1024).flatten().tolist())) == 3, "likeliest tokens lie in every block"

    answers = torch.randint(0, VOCABULARY, (N, 5), generator=generator)
    answers[:, 0] = top[0]  # so that some likeliest tokens are right
    answers[::2, 1] = -1
    answers[1::2, 4] = -1
    correct, wrong = answers[:, :2], answers[:, 2:]
    examples = tuple(Example(f"{i}", None, (" a",), (" b",)) for i in range(N))
    prompts = Prompts(
        torch.zeros(N, 1, dtype=torch.long), torch.ones(N, dtype=torch.long), None, correct, wrong, examples
    )
    references = tuple(torch.randn(N, VOCABULARY, generator=generator).log_softmax(-1) for _ in range(2))
    found = read_out(model.folded, finals, prompts, references)

    assert torch.equal(found.top_token, top)
    for k in range(CIRCUITS):
        for i in range(N):
            row = logits[k, i]
            right, other = (row[ids[ids >= 0]] for ids in (correct[i], wrong[i]))
            assert bool(found.correct[k, i]) == bool(right.max() > other.max())
            assert bool(found.top_is_right[k, i]) == (int(row.argmax()) in correct[i].tolist())
            assert float(found.logit_diff[k, i]) == pytest.approx(float(right.mean() - other.mean()), abs=1e-4)
            for reference, kl in zip(references, found.kl, strict=True):
                p = reference[i]
                expected = float((p.exp() * (p - row.log_softmax(0))).sum())
                assert float(kl[k, i]) == pytest.approx(expected, abs=1e-3, rel=1e-4)
    assert 0 < int(found.correct.sum()) < CIRCUITS * N
    assert found.top_is_right[0].all()
    assert not found.top_is_right.all()
