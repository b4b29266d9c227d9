"""What is written is what is asked: each row is what stands in a file and what the model must get."""

from __future__ import annotations

import pytest

from discogp.tasks.spacing import ADDED, MOVED, spaced, visible

SAME = None


@pytest.mark.parametrize(
    ("prompt", "answer", "asked", "changed"),
    [
        # one space at the end belongs to the answer; the text stays the same
        ("Answer: ", "Yes", ("Answer:", " Yes"), MOVED),
        ("法国的首都是 ", "巴黎", ("法国的首都是", " 巴黎"), MOVED),
        ("A:\n ", "Yes", ("A:\n", " Yes"), MOVED),
        ("two  ", "Yes", ("two ", " Yes"), MOVED),
        ("Answer: ", " Yes", ("Answer: ", " Yes"), SAME),
        ("Answer: ", "\n", ("Answer: ", "\n"), SAME),
        # other white space is what it is
        ("Question?\nAnswer:\n", "Yes", ("Question?\nAnswer:\n", "Yes"), SAME),
        ("<|im_start|>assistant\n", "Yes", ("<|im_start|>assistant\n", "Yes"), SAME),
        ("a\tb\t", "5", ("a\tb\t", "5"), SAME),
        ("line\r\n", "next", ("line\r\n", "next"), SAME),
        ("wide\u3000", "word", ("wide\u3000", "word"), SAME),
        ("no-break\u00a0", "word", ("no-break\u00a0", "word"), SAME),
        # a word after a word
        ("The capital of France is", "Paris", ("The capital of France is", " Paris"), ADDED),
        ("The capital of France is", " Paris", ("The capital of France is", " Paris"), SAME),
        ("Three plus two is", "5", ("Three plus two is", " 5"), ADDED),
        ("the year 1", "5", ("the year 1", "5"), SAME),
        ("In 1945", "Germany", ("In 1945", " Germany"), ADDED),
        ("Answer:", "Yes", ("Answer:", " Yes"), ADDED),
        ("Answer:", "5", ("Answer:", " 5"), ADDED),
        ("at 12:", "30", ("at 12:", "30"), SAME),
        ("about 3.", "5", ("about 3.", "5"), SAME),
        ("This is chapter 3.", "Then", ("This is chapter 3.", " Then"), ADDED),
        ("It costs 5%,", "mostly", ("It costs 5%,", " mostly"), ADDED),
        ("He left.", "She", ("He left.", " She"), ADDED),
        ("He left (home)", "then", ("He left (home)", " then"), ADDED),
        ("café", "été", ("café", " été"), ADDED),
        ("cafe\u0301", "noir", ("cafe\u0301", " noir"), ADDED),
        ("Столица Франции —", "Париж", ("Столица Франции —", " Париж"), ADDED),
        ("it was –", "5", ("it was –", "5"), SAME),
        ("well–", "known", ("well–", "known"), SAME),
        ("Столица Франции это", "Париж", ("Столица Франции это", " Париж"), ADDED),
        ("عاصمة فرنسا هي", "باريس", ("عاصمة فرنسا هي", " باريس"), ADDED),
        ("फ्रांस की राजधानी है", "पेरिस", ("फ्रांस की राजधानी है", " पेरिस"), ADDED),
        ("프랑스의 수도는", "파리", ("프랑스의 수도는", " 파리"), ADDED),
        # scripts without spaces
        ("法国的首都是", "巴黎", ("法国的首都是", "巴黎"), SAME),
        ("法国的首都是", "Paris", ("法国的首都是", "Paris"), SAME),
        ("答案是：", "5", ("答案是：", "5"), SAME),
        ("2 + 3 等于", "5", ("2 + 3 等于", "5"), SAME),
        ("フランスの首都は", "パリ", ("フランスの首都は", "パリ"), SAME),
        ("เมืองหลวงของฝรั่งเศสคือ", "ปารีส", ("เมืองหลวงของฝรั่งเศสคือ", "ปารีส"), SAME),
        ("The Chinese for Paris is", "巴黎", ("The Chinese for Paris is", "巴黎"), SAME),
        # something has just been opened, or is joined
        ('She said "', "yes", ('She said "', "yes"), SAME),
        ('The word "cat"', "means", ('The word "cat"', " means"), ADDED),
        ("it'", "s", ("it'", "s"), SAME),
        ("it’", "s", ("it’", "s"), SAME),
        ("She said “", "yes", ("She said “", "yes"), SAME),
        ("She said “no”", "and", ("She said “no”", " and"), ADDED),
        ("and/", "or", ("and/", "or"), SAME),
        ("(", "yes", ("(", "yes"), SAME),
        ("well-", "known", ("well-", "known"), SAME),
        ("it was -", "5", ("it was -", "5"), SAME),
        ("a price of $", "5", ("a price of $", "5"), SAME),
        ("snake_", "case", ("snake_", "case"), SAME),
        ("x=", "3", ("x=", "3"), SAME),
        ("2 + 3 =", "5", ("2 + 3 =", " 5"), ADDED),
        ("France -> Paris, Italy ->", "Rome", ("France -> Paris, Italy ->", " Rome"), ADDED),
        # an answer that does not begin a word
        ("She", "'s", ("She", "'s"), SAME),
        ("The end", ".", ("The end", "."), SAME),
        ("He said", '"no"', ("He said", '"no"'), SAME),
        ("end of line", "\n", ("end of line", "\n"), SAME),
        ("a gap", " ", ("a gap", " "), SAME),
        ("\n", "Yes", ("\n", "Yes"), SAME),
    ],
)
def test_the_space_between_prompt_and_answer(
    prompt: str, answer: str, asked: tuple[str, str], changed: str | None
) -> None:
    found = spaced(prompt, [answer])
    assert (found.prompt, *found.answers) == asked
    assert found.changed == changed
    assert (found.prompt + found.answers[0]).replace(" ", "") == (prompt + answer).replace(" ", "")


def test_each_answer_is_looked_at_on_its_own_but_a_space_moves_to_all_or_none() -> None:
    assert spaced("She said", ["yes", " no", "."]).answers == (" yes", " no", ".")
    assert spaced("She said ", ["yes", "."]).answers == (" yes", " .")
    assert spaced("She said ", ["yes", " no"]).prompt == "She said "


def test_white_space_can_be_seen() -> None:
    assert visible("a b\n\tc\u00a0\u200bd\x07") == "a·b⏎⇥c⍽<U+200B>d<U+0007>"
