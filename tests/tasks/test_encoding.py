"""Examples to tokens: right padding, one token per answer, and a reason for everything that is dropped."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from discogp.errors import TaskError
from discogp.tasks import Example, SplitSizes, encode, get_task
from discogp.tasks import encoding as encoding_module
from discogp.tasks.encoding import BEYOND, Reading
from discogp.tasks.token_id import TokenId
from tests.tasks.words import bos_adding_tokenizer, byte_tokenizer, word_tokenizer

SHORT = Example("We saw", "You saw", (" Mary",), (" John",), "short")
LONG = Example("We saw a dog with", "You saw a dog with", (" John", " Ann"), (" Mary",), "long")
TEXT = "We You saw a dog with Mary John Ann We You"


def test_prompts_are_padded_on_the_right_and_lengths_end_them() -> None:
    tokenizer = word_tokenizer(TEXT, "You")
    prompts = encode([SHORT, LONG], tokenizer, tokenizer.bos_token_id).prompts
    assert prompts.tokens.shape == (2, 6)
    assert prompts.lengths.tolist() == [3, 6]
    assert prompts.last.tolist() == [2, 5]
    assert prompts.tokens[:, 0].tolist() == [tokenizer.bos_token_id] * 2
    assert tokenizer.decode(prompts.tokens[0, 1:3]) == "We saw"
    assert (prompts.tokens[0, 3:] == tokenizer.bos_token_id).all()
    assert prompts.counterfactual is not None
    assert tokenizer.decode(prompts.counterfactual[0, 1:3]) == "You saw"
    assert prompts.correct[0, 1] == prompts.wrong.new_tensor(-1)
    assert tokenizer.decode(prompts.correct[1]) == " John Ann"
    assert tokenizer.decode(prompts.wrong[1]) == " Mary"
    assert {t.dtype for t in (prompts.tokens, prompts.lengths, prompts.correct, prompts.wrong)} == {torch.long}


def test_without_a_bos_nothing_is_put_in_front() -> None:
    prompts = encode([LONG], word_tokenizer(TEXT, "You"), None).prompts
    assert prompts.lengths.tolist() == [5]


def test_subsets_and_batches_keep_examples_and_tensors_together() -> None:
    tokenizer = word_tokenizer(TEXT, "You")
    prompts = encode([SHORT, LONG, SHORT], tokenizer, 0).prompts
    part = prompts.subset([2, 0])
    assert part.tokens.shape == (2, 3)
    assert part.examples == (SHORT, SHORT)
    assert [len(batch) for batch in prompts.batches(2)] == [2, 1]
    assert prompts.subset(torch.tensor([1])).examples == (LONG,)
    moved = prompts.to("meta")
    assert moved.examples == prompts.examples
    assert {t.device.type for t in (moved.tokens, moved.lengths, moved.correct, moved.wrong)} == {"meta"}
    with pytest.raises(IndexError):
        prompts.subset([3])
    with pytest.raises(TaskError, match="batch of 0"):
        list(prompts.batches(0))


def test_one_example_without_a_counterfactual_leaves_none() -> None:
    bare = Example("We saw", None, (" Mary",), (" John",))
    assert encode([SHORT, bare], word_tokenizer(TEXT, "You"), 0).prompts.counterfactual is None


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (Example("We saw", None, (" Mary John",), (" Ann",)), encoding_module.MULTI_TOKEN),
        (Example("We saw", None, (" Mary",), (" Zoe",)), encoding_module.UNKNOWN_ANSWER),
        (Example("They saw", None, (" Mary",), (" John",)), encoding_module.UNKNOWN_PROMPT),
        (Example("We saw", None, ("Mary",), (" John",)), encoding_module.GLUED),
        (Example("We saw ", None, (" Mary",), (" John",)), encoding_module.UNKNOWN_PROMPT),
    ],
)
def test_unusable_examples_are_dropped_with_a_count_and_a_reason(example: Example, reason: str) -> None:
    encoded = encode([example, SHORT, example], word_tokenizer(TEXT, "You"), 0)
    assert encoded.prompts.examples == (SHORT,)
    assert encoded.dropped == {reason: 2}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("They saw", encoding_module.UNKNOWN_PROMPT),
        ("We saw a", encoding_module.UNEQUAL),
        (None, encoding_module.NO_OTHER),
    ],
)
def test_a_counterfactual_that_does_not_fit_costs_its_example_only_where_one_is_needed(
    other: str | None, reason: str
) -> None:
    example, tokenizer = Example("We saw", other, (" Mary",), (" John",)), word_tokenizer(TEXT, "You")
    kept = encode([example, SHORT], tokenizer, 0)
    assert (kept.prompts.examples, kept.prompts.counterfactual, kept.dropped) == ((example, SHORT), None, {})
    assert len(kept.notes) == (other is not None)
    needed = encode([example, SHORT], tokenizer, 0, Reading(need_counterfactual=True))
    assert (needed.prompts.examples, needed.dropped) == ((SHORT,), {reason: 1})
    if reason != encoding_module.UNKNOWN_PROMPT:
        with pytest.raises(TaskError, match="column 'counterfactual'"):
            encode([example], tokenizer, 0, Reading(need_counterfactual=True))


def test_two_answers_that_are_one_token_are_dropped() -> None:
    class Folding:
        """A tokenizer that folds case."""

        unk_token_id = None

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[sum(map(ord, word.lower())) for word in text.split()] for text in texts]}

    encoded = encode([Example("We saw", None, (" Mary",), (" mary",)), SHORT], Folding(), None)
    assert encoded.dropped == {encoding_module.SAME_TOKEN: 1}


def test_nothing_left_is_an_error_with_the_reasons() -> None:
    examples = [
        Example(e.prompt, None, e.correct, e.wrong) for e in get_task("ioi").splits(SplitSizes(4, 1, 1), 0).train
    ]
    with pytest.raises(TaskError, match=r"none of the 4 examples .*4 × an answer is more than one token"):
        encode(examples, byte_tokenizer(), None)
    with pytest.raises(TaskError, match="there were none"):
        encode([], byte_tokenizer(), None)


def test_a_tokenizer_that_adds_a_bos_gets_one_and_no_more() -> None:
    tokenizer = bos_adding_tokenizer(TEXT, "You")
    prompts = encode([LONG], tokenizer, tokenizer.bos_token_id).prompts
    assert (prompts.tokens == tokenizer.bos_token_id).sum() == 1


def test_digits_may_continue_a_number() -> None:
    class Digits:
        """Every character is a token, as digits are in many vocabularies."""

        unk_token_id = None

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    prompts = encode([Example("173", None, ("5",), ("2",))], Digits(), None).prompts
    assert prompts.correct.tolist() == [[ord("5")]]


def test_of_several_answers_those_that_do_not_fit_are_left_out_and_counted() -> None:
    example = Example("We saw", None, (" Mary",), (" John", " Mary John", " Zoe"))
    encoded = encode([example, example], word_tokenizer(TEXT, "You"), 0)
    assert not encoded.dropped
    assert (encoded.prompts.wrong >= 0).sum(1).tolist() == [1, 1]
    assert encoded.answers_left_out == {encoding_module.MULTI_TOKEN: 1, encoding_module.UNKNOWN_ANSWER: 1}


def test_sentences_are_cut_at_the_first_token_in_which_they_differ() -> None:
    pair = Example("We", None, (" saws",), (" sawn",), sentences=("We saws.", "We sawn."))
    apart = Example("", None, (" We",), (" You",), sentences=("We saw", "You saw"))
    longer = Example("We", None, (" saw",), (" sawn",), sentences=("We saw", "We sawn"))
    encoded = encode([pair, apart, longer], byte_tokenizer(), None)
    (example,) = encoded.prompts.examples
    assert (example.prompt, example.correct, example.wrong) == ("We saw", ("s",), ("n",))
    assert encoded.prompts.lengths.tolist() == [6]
    assert encoded.dropped == {encoding_module.NO_PREFIX: 1, encoding_module.NO_SPLIT: 1}
    again = encode([example], byte_tokenizer(), None).prompts
    assert again.examples == (example,)


def test_answers_are_read_in_the_context_of_the_whole_prompt_where_its_last_word_alone_differs() -> None:
    class Positional:
        """A tokenizer in which a word's token depends on whether it is the text's first."""

        unk_token_id = None

        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[100 * (i == 0) + len(w) for i, w in enumerate(text.split())] for text in texts]}

    prompts = encode([Example("We saw", None, (" Mary",), (" Ann",))], Positional(), None).prompts
    assert (prompts.tokens.tolist(), prompts.correct.tolist(), prompts.wrong.tolist()) == ([[102, 3]], [[4]], [[3]])


def test_a_part_of_the_prompts_is_as_wide_as_its_longest() -> None:
    prompts = encode([SHORT, LONG, SHORT], word_tokenizer(TEXT, "You"), None).prompts
    assert prompts.subset([0, 1]).tokens.shape == (2, 5)
    assert prompts.subset([0, 2]).tokens.shape == (2, 2)


def test_a_right_and_a_wrong_answer_of_one_token_are_refused_though_others_differ() -> None:
    tokenizer = word_tokenizer("we saw mary john ann", "we")
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    usable = Example("We saw", None, (" Mary",), (" John",))
    encoded = encode([usable, Example("We saw", None, (" Mary", " Ann"), (" mary", " John"))], tokenizer, None)
    assert encoded.dropped == {encoding_module.SAME_TOKEN: 1}


def test_an_unknown_word_right_before_two_sentences_part_is_told() -> None:
    known = Example("", None, (), (), sentences=("We saw Mary", "We saw John"))
    unknown = Example("", None, (), (), sentences=("We saw zebras Mary", "We saw zebras John"))
    encoded = encode([known, unknown], word_tokenizer(TEXT, "You"), None)
    assert encoded.dropped == {encoding_module.UNKNOWN_PROMPT: 1}


def merging_tokenizer(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """Characters, joined wherever two neighbours are among the merges, the first of them first."""
    pieces = [*"123 ", *(a + b for a, b in merges)]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({p: i for i, p in enumerate(pieces)}, list(merges))))


USABLE = Example("2", None, ("1",), ("2",))


def test_an_answer_that_changes_the_prompt_s_last_token_is_refused() -> None:
    # "1" + "23" is "12" and "3": one token more than the prompt, but not the prompt's.
    encoded = encode([USABLE, Example("1", None, ("23",), ("1",))], merging_tokenizer(("1", "2")), None)
    assert encoded.dropped == {encoding_module.MULTI_TOKEN: 1}


def test_an_answer_is_read_behind_the_tokens_that_the_prompt_really_ends_with() -> None:
    # Alone, " 2" is one token and stays one before "3"; behind "1" it is "1 " and "2", and "23" is one token.
    tokenizer = merging_tokenizer(("1", " "), (" ", "2"), ("2", "3"))
    encoded = encode([USABLE, Example("1 2", None, ("3",), ("1",))], tokenizer, None)
    assert encoded.dropped == {encoding_module.MULTI_TOKEN: 1}


def test_token_ids_are_the_tokens_of_that_id_and_shown_as_such() -> None:
    tokenizer = word_tokenizer("The capital of France is Paris Rome London")
    ids = [tokenizer(f"The {word}", add_special_tokens=False)["input_ids"][-1] for word in ("Paris", "Rome", "London")]
    paris, rome, london = map(TokenId, ids)
    found = encode([Example("The capital of France is", None, (paris,), (rome, london), exact=True)], tokenizer, 0)
    assert found.prompts.correct.tolist() == [ids[:1]]
    assert found.prompts.wrong.tolist() == [ids[1:]]
    (asked,) = found.prompts.examples
    assert (asked.correct, asked.wrong) == ((" Paris",), (" Rome", " London"))
    assert f"{ids[0]} is “·Paris”, {ids[1]} is “·Rome”" in found.notes[0]
    assert encode(found.prompts.examples, tokenizer, 0).prompts.wrong.tolist() == [ids[1:]]


def test_a_token_id_that_the_model_lacks_is_no_answer() -> None:
    tokenizer = word_tokenizer("The capital of France is Paris Rome")
    wrong = (TokenId(1), TokenId(70))
    some = [Example("The capital", None, (TokenId(number),), wrong, exact=True) for number in (2, 60)]
    found = encode(some, tokenizer, 0, Reading(vocabulary=50))
    assert found.prompts.wrong.tolist() == [[1]]
    assert found.dropped == {BEYOND: 1}
    assert set(found.answers_left_out) == {BEYOND}
    assert "60" in found.first[0]


def test_token_ids_that_look_alike_are_still_two_answers() -> None:
    tokenizer = byte_tokenizer()
    halves = [TokenId(token) for token in tokenizer("é", add_special_tokens=False)["input_ids"]]
    found = encode([Example("The", None, tuple(halves[:1]), tuple(halves[1:]), exact=True)], tokenizer, None)
    assert [found.prompts.correct.tolist(), found.prompts.wrong.tolist()] == [[[half.number]] for half in halves]
    assert found.prompts.examples[0].correct == (f"<token {halves[0].number}>",)
