"""The embedded model: an ordinary checkpoint that does every generator's task on prompts held out from its training."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from discogp.mini import text as mini_text
from discogp.mini.leaks import leak
from discogp.mini.train import score
from discogp.paths import assets
from discogp.tasks import SplitSizes, encode, fitted, get_task

MINI = assets() / "mini"


@pytest.mark.parametrize("name", mini_text.TASKS)
def test_mini_answers_task_prompts(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    model = AutoModelForCausalLM.from_pretrained(MINI, dtype=torch.float32).eval()
    encoded = encode(
        fitted(get_task(name), tokenizer).splits(SplitSizes(1, 1, 256), 0).test, tokenizer, tokenizer.bos_token_id
    )
    assert not encoded.dropped
    result = score(model, encoded.prompts)
    assert result.accuracy >= 0.97
    # Nothing in a prompt says which noun follows its determiner.
    assert result.top1 >= 0.85 or "determiner_noun" in name


def test_mini_is_small_and_has_a_card() -> None:
    assert sum(file.stat().st_size for file in MINI.iterdir()) <= 8_000_000
    card = (MINI / "README.md").read_text(encoding="utf-8")
    for needed in ("teaching model", "synthetic text", "python -m discogp.mini.train", "Held-out accuracy"):
        assert needed in card


def test_mini_tokenizer_has_whole_words_with_and_without_the_space() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    ids = tokenizer("Mary met John. Then Mary", add_special_tokens=False)["input_ids"]
    assert len(ids) == 6
    assert ids[0] != ids[-1]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == "Mary met John. Then Mary"
    assert tokenizer.bos_token == mini_text.BOS
    assert tokenizer.bos_token_id not in ids


def test_every_held_out_prompt_would_be_noticed_in_the_training_text() -> None:
    for name in mini_text.TASKS:
        if name == "induction":
            continue  # about no word in particular: its neighbours are held out where its sequences are made
        splits = get_task(name).splits(SplitSizes(200, 200, 200), 0)
        for example in (*splits.validation, *splits.test):
            assert leak(example.prompt + example.correct[0]) is not None
        assert all(leak(example.prompt + example.correct[0]) is None for example in splits.train)
