"""Where a prompt ends and its answer begins: what is written is what is asked, up to one space that was left out.

A model reads "is" + " Paris", people write "is" and "Paris". So one space at a prompt's end moves to the answers (the
text stays the same, and most tokenizers put a space before its word), and where there is none, one is added in the few
cases in which nobody would write without it. Everything else (line ends, tabs, two spaces, scripts that are written
without spaces, quotes, brackets, numbers that go on) stays as it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import regex

MOVED = "the space at the end of the prompt was moved to the answers"
ADDED = "a space was added before the answers"

# Scripts whose words follow one another without spaces (Unicode Standard, chapters 16 to 18).
_UNSPACED = regex.compile(
    "["
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
    r"\p{Javanese}\p{Balinese}\p{Tai_Tham}\p{New_Tai_Lue}\p{Tai_Viet}\p{Tai_Le}\p{Cham}\p{Sundanese}\p{Batak}"
    "]"
)
_LETTER = regex.compile(r"[\p{L}\p{M}]")
# Marks that may open, join or stand for a part of a word, so that nothing is known of what follows.
_OPEN = frozenset("\"'’‘‛`´&@#\\/*•·‣§¶¿¡_")
# Signs that part two words only where they stand apart themselves: "x = 3", "France -> Paris", not "x=3".
_SIGNS = frozenset("=+×÷→⇒>-–—")
_TELLING = _SIGNS - {"-"}
_DASHES = frozenset("–—")


@dataclass(frozen=True, slots=True)
class Spaced:
    """A prompt and its answers as they are asked; `changed` is MOVED, ADDED or None."""

    prompt: str
    answers: tuple[str, ...]
    changed: str | None


def spaced(prompt: str, answers: Sequence[str]) -> Spaced:
    """The prompt and its answers, right and wrong, with the space that parts them on the answers' side.

    Together they are the text that was written, but for a space added between two words.
    """
    if prompt[-1:] == " " and prompt.strip() and not any(answer[:1].isspace() for answer in answers):
        return Spaced(prompt[:-1], tuple(f" {answer}" for answer in answers), MOVED)
    with_space = tuple(f" {answer}" if _begins_another_word(prompt, answer) else answer for answer in answers)
    return Spaced(prompt, with_space, ADDED if with_space != tuple(answers) else None)


def without_space(text: str) -> str:
    """A prompt that is compared with one whose last space was moved: without its own."""
    return text[:-1] if text[-1:] == " " else text


def visible(text: str) -> str:
    """The text with its white space to be seen, each as one sign of its own."""
    return "".join(_SEEN.get(letter) or _named(letter) for letter in text)


def runs_on(prompt: str, answer: str) -> bool:
    """Whether the answer's first letter would go on with the prompt's last word, in a script written with spaces."""
    return (
        bool(_LETTER.match(prompt[-1:]))
        and bool(_LETTER.match(answer[:1]))
        and not (_UNSPACED.match(prompt[-1:]) or _UNSPACED.match(answer[:1]))
    )


_SEEN = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u3000": "□"}


def _named(letter: str) -> str:
    return f"<U+{ord(letter):04X}>" if letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") else letter


def _begins_another_word(prompt: str, answer: str) -> bool:
    first = unicodedata.category(answer[0])[0]
    if first not in "LN" or _UNSPACED.match(answer[0]) or _last_script_is_unspaced(prompt):
        return False
    last = prompt[-1]
    kind = unicodedata.category(last)
    if kind[0] in "LM":
        return True
    if kind[0] == "N":
        return first == "L"
    if last == '"':  # opens or closes
        return prompt.count('"') % 2 == 0 and not prompt[-2:-1].isspace()
    if last in _SIGNS:
        return _stands_apart(prompt) and not (last in _DASHES and first == "N")  # "–5" is one number
    closed = kind in ("Pe", "Pf", "Po")
    # "3." and "5", "12:" and "30", "1," and "000" are one number.
    goes_on = first == "N" and unicodedata.category(prompt[-2:-1] or " ")[0] == "N"
    return closed and last not in _OPEN and not goes_on


def _last_script_is_unspaced(prompt: str) -> bool:
    """By the prompt's last letter: what stands after it (digits, marks) belongs to no script."""
    for letter in reversed(prompt):
        if _LETTER.match(letter):
            return bool(_UNSPACED.match(letter))
    return False


def _stands_apart(prompt: str) -> bool:
    """Whether the signs at the end have a space before them and are more than dashes."""
    rest = prompt.rstrip("".join(_SIGNS))
    signs = prompt[len(rest) :]
    return rest[-1:] == " " and bool(_TELLING & set(signs))
