"""What is said of one prompt is what a softmax over a plain run of that prompt says."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from discogp import AblationSession, load_model, run_circuit
from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import weight_fields
from discogp.errors import ConfigError, DiscoGPError, ModelError, TaskError
from discogp.evaluation.one_prompt import Part, Said
from discogp.prompts.own import own_prompt
from discogp.tasks import Example, Prompts
from tests.tiny_models import build_tiny_llama

IOI = "Then Stephen and Henry went to the library. Soon Stephen gave the letter to"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_llama(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    """Answers of one token, one to three on a side."""
    generator = torch.Generator().manual_seed(5)
    tokens, other = torch.randint(0, 97, (2, 4, 6), generator=generator)
    correct = torch.tensor([[3, 9, 11], [4, -1, -1], [7, 8, -1], [1, 2, 3]])
    wrong = torch.tensor([[50, -1], [51, 52], [53, -1], [54, 55]])
    examples = tuple(Example(f"w{i}", f"w{i + 1}", (" w1",), (" w2",)) for i in range(4))
    return Prompts(tokens, torch.tensor([6, 3, 5, 1]), other, correct, wrong, examples)


@pytest.fixture(scope="module")
def circuit(tiny: MaskedTransformer) -> Circuit:
    return Circuit(tiny.graph, np.random.default_rng(0).random(tiny.graph.n_edges) < 0.3)


def run(model: MaskedTransformer, circuit: Circuit, prompts: Prompts, place: int) -> torch.Tensor:
    """Probabilities [V] after a prompt, of a circuit that is run on that prompt alone."""
    length = int(prompts.lengths[place])
    tokens, other = prompts.tokens[place, None, :length], prompts.counterfactual
    assert other is not None
    return run_circuit(model, circuit, tokens, circuit.ablation, other[place, None, :length])[0, -1].softmax(-1)


@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_of_every_part(tiny: MaskedTransformer, circuit: Circuit, prompts: Prompts, ablation: str) -> None:
    circuit = replace(circuit, ablation=ablation)  # type: ignore[arg-type]
    session, off = AblationSession(tiny, circuit, prompts), ["m1", circuit.edges[0]]
    parts: dict[Part, Circuit] = {
        "full": Circuit.full(tiny.graph),
        "circuit": circuit,
        "edited": circuit.without(off),
        "complement": circuit.complement(),
    }
    for place in range(len(prompts)):
        for part, of in parts.items():
            found = session.says(prompts.subset([place]), part, off)
            chances = run(tiny, of, prompts, place)
            right, wrong = ([i for i in ids[place].tolist() if i >= 0] for ids in (prompts.correct, prompts.wrong))
            assert found.right == pytest.approx(float(chances[right].sum()), abs=1e-5)
            assert found.wrong == pytest.approx(float(chances[wrong].sum()), abs=1e-5)
            assert found.is_right == bool(chances[right].max() > chances[wrong].max())
            difference = float(chances[right].log().mean() - chances[wrong].log().mean())
            assert found.logit_diff == pytest.approx(difference, abs=1e-4)
            best = chances.topk(10)
            assert [guess.probability for guess in found.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert len({session.says(prompts.subset([0]), part, off).right for part in parts}) == 4


def test_with_mean_ablation_the_means_are_the_splits(tiny: MaskedTransformer, circuit: Circuit, prompts: Prompts):
    session = AblationSession(tiny, replace(circuit, ablation="mean"), prompts)
    for place in range(len(prompts)):
        assert session.says(prompts.subset([place]), "circuit").logit_diff == pytest.approx(
            float(session.circuit.logit_diff[place]), abs=1e-4
        )


@pytest.fixture(scope="module")
def mini() -> MaskedTransformer:
    return load_model("mini")


def says(model: MaskedTransformer, text: str, right: str, wrong: str) -> Said:
    prompt = own_prompt(model, text, right, wrong)
    return AblationSession(model, Circuit.full(model.graph), prompt).says(prompt, "circuit")


def test_a_persons_own_text(mini: MaskedTransformer) -> None:
    found = says(mini, IOI, "Henry", "Stephen")
    ids = mini.tokenizer(IOI, add_special_tokens=False)["input_ids"]
    opening = [] if mini.bos_id is None else [mini.bos_id]
    chances = mini.logits(torch.tensor([[*opening, *ids]]))[0, -1].softmax(-1)
    for name, share in (("Henry", found.right), ("Stephen", found.wrong)):
        (token,) = mini.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]
        assert share == pytest.approx(float(chances[token]), abs=1e-6)
    assert found.is_right
    assert found.top[0].text.strip() == "Henry"
    assert says(mini, IOI + " ", "Henry", "Stephen").right == pytest.approx(found.right), "a space at the end is moved"


def test_of_an_answer_of_several_tokens_it_is_the_product(mini: MaskedTransformer) -> None:
    both = says(mini, IOI, "Henry and Stephen", "Stephen").right
    steps = [says(mini, IOI + start, word, "Stephen" if word == "Henry" else "the").right
             for start, word in (("", "Henry"), (" Henry", "and"), (" Henry and", "Stephen"))]  # fmt: skip
    assert both == pytest.approx(float(np.prod(steps)), rel=1e-3)


@pytest.mark.parametrize(
    ("own", "error", "told"),
    [
        ((" ", "Henry", "Mary"), TaskError, "the text is empty"),
        ((IOI, "", "Mary"), TaskError, "the right answer is empty"),
        ((IOI, "Henry", "\n"), TaskError, "the wrong answer is empty"),
        ((IOI, "Henry", "Henry"), TaskError, "both correct and wrong"),
        ((IOI, "Henry", "Zqxj"), TaskError, "not in the tokenizer's vocabulary"),
        (("Zqxj and", "Henry", "Mary"), TaskError, "not in the tokenizer's vocabulary"),
        (("Then" + " the" * 2000, "Henry", "Mary"), TaskError, "longer than the model takes"),
    ],
)
def test_what_cannot_be_asked_is_told(
    mini: MaskedTransformer, own: tuple[str, str, str], error: type[DiscoGPError], told: str
) -> None:
    with pytest.raises(error, match=told):
        own_prompt(mini, *own)


def test_a_model_without_a_tokenizer_reads_no_text(tiny: MaskedTransformer) -> None:
    with pytest.raises(ModelError, match="no tokenizer"):
        own_prompt(MaskedTransformer(tiny.weights, "bare"), IOI, "Henry", "Mary")


def test_resample_needs_a_counterfactual(mini: MaskedTransformer) -> None:
    prompt = own_prompt(mini, IOI, "Henry", "Stephen")
    circuit = replace(Circuit.from_edges(mini.graph, ["input->logits"]), ablation="resample")
    both = replace(prompt, counterfactual=prompt.tokens)
    session = AblationSession(mini, circuit, both)
    assert session.says(prompt, "full").right > 0.5
    with pytest.raises(ConfigError, match="counterfactual"):
        session.says(prompt, "circuit")


def test_weights_of_a_sheafs_complement_are_given_back(mini: MaskedTransformer, prompts: Prompts) -> None:
    prompt = own_prompt(mini, IOI, "Henry", "Stephen")
    masks = {name: np.ones(tensor.shape, dtype=bool) for name, _, _, tensor in weight_fields(mini.weights)}
    session = AblationSession(mini, Circuit(mini.graph, np.ones(mini.graph.n_edges, dtype=bool), None, masks), prompt)
    before = session.says(prompt, "complement")
    folded = weakref.ref(session._complement_scorer.folded)
    session.release()
    gc.collect()
    assert folded() is None
    assert session.says(prompt, "complement") == before
