"""The token that opens a text stands before a prompt once or not at all, however the prompt was written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.evaluation.positions import prompt_ids
from discogp.tasks import Example, encode
from discogp.tasks.encoding import BEYOND, Reading
from discogp.tasks.opening import opening
from discogp.terms import Bos
from tests.tasks.words import byte_tokenizer, word_tokenizer

# As SmolLM2: its tokenizer names one token (7), its plain texts open with another (3).
CHATTY: Any = SimpleNamespace(bos_token_id=7)
PLAIN: Any = SimpleNamespace(bos_token_id=3)


@pytest.mark.parametrize(
    ("ids", "tokenizer", "bos_id", "bos", "chat", "wanted"),
    [
        ([5, 6], PLAIN, 3, "auto", False, [3]),
        ([3, 6], PLAIN, 3, "auto", False, []),
        ([3, 6], PLAIN, 3, "always", False, []),
        ([5, 6], PLAIN, 3, "never", False, []),
        ([3, 6], PLAIN, 3, "never", False, []),
        ([5, 6], PLAIN, 3, "auto", True, []),
        ([5, 6], PLAIN, 3, "always", True, [3]),
        ([5, 6], CHATTY, 3, "auto", False, [3]),
        ([7, 6], CHATTY, 3, "auto", False, []),
        ([7, 6], CHATTY, 3, "always", False, [3]),
        ([5, 6], PLAIN, None, "auto", False, []),
        ([5, 6], PLAIN, None, "never", False, []),
        ([], PLAIN, 3, "auto", False, [3]),
    ],
)
def test_what_stands_before_a_prompt(
    ids: list[int], tokenizer: Any, bos_id: int | None, bos: Bos, chat: bool, wanted: list[int]
) -> None:
    assert opening(ids, tokenizer, bos_id, bos, chat) == wanted


def test_a_token_that_is_not_there_and_a_word_that_is_none_are_refused() -> None:
    with pytest.raises(TaskError, match="no token that opens a text; set it to auto or never"):
        opening([5], PLAIN, None, "always")
    with pytest.raises(TaskError, match="bos is 'sometimes'; allowed: auto, always, never"):
        opening([5], PLAIN, 3, "sometimes")  # type: ignore[arg-type]


def with_special_tokens() -> Any:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": ["<image>"]})
    return tokenizer


def test_written_at_the_beginning_it_stands_there_once_in_prompts_and_in_text_of_ones_own() -> None:
    tokenizer = with_special_tokens()
    bos = tokenizer.bos_token_id
    examples = [Example(text, None, (" a",), (" b",)) for text in ("<s>It is", "It is")]
    prompts = encode(examples, tokenizer, bos, Reading(answers="whole")).prompts
    assert (prompts.tokens == bos).sum(1).tolist()[0] == 1
    assert prompts.lengths[0] == prompts.lengths[1]
    assert prompt_ids("<s>It is", tokenizer, bos)[0].tolist().count(bos) == 1
    assert prompt_ids("It is", tokenizer, bos)[0].tolist().count(bos) == 1


def test_a_token_called_unknown_that_was_written_is_meant() -> None:
    """GPT-2 and SmolLM2 name the token that opens a text as the unknown one as well."""
    tokenizer = with_special_tokens()
    tokenizer.unk_token = "<s>"
    (example,) = encode([Example("<s>It is", None, ("a",), ("b",), exact=True)], tokenizer, None).prompts.examples
    assert example.prompt == "<s>It is"


def test_ids_beyond_the_model_s_vocabulary_cost_one_example() -> None:
    tokenizer = with_special_tokens()
    size = tokenizer.convert_tokens_to_ids("<image>")
    rows = [Example("see <image>", None, ("a",), ("b",), where="line 7"), Example("see ", None, ("a",), ("b",))]
    encoded = encode(rows, tokenizer, None, Reading(vocabulary=size))
    assert encoded.prompts.examples == (rows[1],)
    assert encoded.first == (f"line 7: '<image>' has the id {size}; the model has {size}",)


@pytest.mark.parametrize("pair", [("<image> is a", "<image> is b"), ("It <image>", "It is"), ("It is", "It <image>")])
def test_sentences_with_ids_beyond_the_model_s_vocabulary_cost_their_pair(pair: tuple[str, str]) -> None:
    tokenizer = with_special_tokens()
    size = tokenizer.convert_tokens_to_ids("<image>")
    usable = Example("", None, (), (), sentences=("It is", "It as"))
    encoded = encode([usable, Example("", None, (), (), sentences=pair)], tokenizer, None, Reading(vocabulary=size))
    assert len(encoded.prompts) == 1
    assert encoded.dropped == {BEYOND: 1}


def test_words_that_are_not_known_are_named_with_their_line() -> None:
    tokenizer = word_tokenizer("We saw Mary John", "We")
    rows = [
        Example("We saw", None, (" Mary",), (" John",)),
        Example("We zapped and saw", None, (" Mary",), (" John",), where="line 3"),
    ]
    assert encode(rows, tokenizer, None).first == ("line 3: not in the vocabulary: 'zapped', 'and'",)
