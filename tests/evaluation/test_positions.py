"""The token view: whose predictions, where, how far apart; and texts that cannot be read."""

from __future__ import annotations

import math

import pytest
import torch

from app.tables import tokens_table
from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import load_model
from discogp.errors import ConfigError, ModelError
from discogp.evaluation.positions import Guess, Position, positions, prompt_ids
from discogp.evaluation.session import AblationSession
from discogp.prompts.prepare import prepare
from discogp.tasks import SplitSizes, get_task


@pytest.fixture(scope="module")
def session() -> AblationSession:
    model = load_model("mini")
    data = prepare(model, get_task("ioi"), SplitSizes(8, 8, 8))
    return AblationSession(model, Circuit.full(model.graph), data.test)


def test_the_whole_model_as_a_circuit_predicts_the_same_everywhere(session: AblationSession) -> None:
    model, prompts = session.model, session.prompts
    ids = prompts.tokens[:1, : int(prompts.lengths[0])]
    full, circuit = session.at_every_position(ids)
    found = positions(ids[0].tolist(), full[0], circuit[0], model.tokenizer)
    assert max(position.kl for position in found) < 1e-4
    assert found[-1].full[0].text == prompts.examples[0].correct[0]
    assert [p.follows for p in found[:-1]] == [p.token for p in found[1:]]
    assert found[-1].follows is None


def test_what_is_switched_off_changes_predictions_downstream_only(session: AblationSession) -> None:
    model, prompts = session.model, session.prompts
    ids = prompts.tokens[:1, : int(prompts.lengths[0])]
    full, without = session.at_every_position(ids, names=["m3->logits"])
    expected = model.logits(ids)
    torch.testing.assert_close(full, expected)
    assert (without - full).abs().max() > 1e-2


def test_resample_ablation_needs_a_counterfactual(session: AblationSession) -> None:
    model, prompts = session.model, session.prompts
    resampled = AblationSession(model, Circuit.full(model.graph, ablation="resample"), prompts)
    with pytest.raises(ConfigError, match="counterfactual"):
        resampled.at_every_position(prompts.tokens[:1])


@pytest.mark.parametrize(
    ("text", "reason"), [("", "is empty"), ("zxqv wug", "does not know"), ("the " * 300, "at most 256")]
)
def test_texts_that_cannot_be_read_say_why(session: AblationSession, text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        prompt_ids(text, session.model.tokenizer, session.model.bos_id)


def test_the_table_shows_spaces_and_escapes_markup() -> None:
    html = tokens_table([Position("<b>", (Guess(" a", 0.5),), (Guess("\n", 0.25),), 1.0, " a")])
    assert "<b>" not in html
    assert "␣a" in html
    assert html.count("✓") == 1
    assert "⏎" in html


def test_divergence_is_from_the_full_model() -> None:
    class Letters:
        def decode(self, ids: list[int], **_: object) -> str:
            return "".join("ab"[i] for i in ids)

    full, circuit = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    (found,) = positions([0], full, circuit, Letters(), top=1)
    assert found.kl == pytest.approx(0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5), abs=1e-6)
