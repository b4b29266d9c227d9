"""An answer that a file gives as a number: the token of that id, whatever its text."""

from __future__ import annotations

# More than any vocabulary has.
_LARGEST = 10_000_000


class TokenId(str):
    """A token id as an answer. `number`: the id.

    It is a text, so that it can stand where answers stand: the token's own if that is known, else "<token 47764>".
    Whoever encodes it takes `number`. Which tokenizer an id belongs to, files do not say.
    """

    __slots__ = ("number",)
    number: int

    def __new__(cls, number: int, text: str | None = None) -> TokenId:
        """`text`: the token's own, once a tokenizer is known. ValueError if no vocabulary has the id."""
        if not 0 <= number <= _LARGEST:
            raise ValueError(f"a token id is a whole number from 0, at most {_LARGEST:,}")
        made = super().__new__(cls, f"<token {number}>" if text is None else text)
        made.number = number
        return made
