"""Words that several tasks use, and which split may use them.

Every word is one token after a space in GPT-2's and SmolLM2's vocabularies, so that exchanging one for another keeps
the number of tokens. Which words a split has is fixed and does not depend on the seed: what is held out of training
stays held out whatever the seed is.
"""

from __future__ import annotations

from typing import Literal

Gender = Literal["f", "m"]
Pools = dict[str, tuple[tuple[str, str], ...]]
"""Of each split, (singular, plural)."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """(singular, plural) out of "box/boxes dog": a regular plural need not be written."""
    found = (word.partition("/") for word in text.split())
    return tuple((singular, plural or f"{singular}s") for singular, _, plural in found)


# First names that tell the gender.
NAMES: dict[str, dict[Gender, tuple[str, ...]]] = {
    "train": {
        "f": words(
            "Alice Amy Anna Elizabeth Emma Grace Helen Jane Jennifer Karen Kate Laura Linda Lisa Maria Mary Rachel "
            "Sarah Nancy Barbara Margaret Julia Claire Marie Angela Michelle Victoria Sophie Caroline Amanda Anne Sally"
        ),
        "m": words(
            "Adam Alan Andrew Anthony Arthur Ben Brian Charles Daniel David Edward Eric Frank George Harry Jack "
            "James Jason Jim Joe John Kevin Luke Martin Michael Nick Patrick Paul Peter Robert Simon Tom"
        ),
    },
    "validation": {
        "f": words("Ruth Rebecca Julie Martha Hannah Betty"),
        "m": words("Fred Joseph Matt Richard Scott William"),
    },
    "test": {
        "f": words("Emily Jessica Lucy Susan Diana Melissa Charlotte Olivia Nicole Carol"),
        "m": words("Henry Jacob Jeff Louis Mike Oliver Ryan Stephen Steve Thomas"),
    },
}

ADJECTIVES = words("old small big young quiet famous clever strong proud happy")

# (singular, plural, gender) of people, women and men in turn: each woman is followed by the man who stands in for her.
GENDERED: dict[str, tuple[tuple[str, str, Gender], ...]] = {
    "train": (
        ("woman", "women", "f"),
        ("man", "men", "m"),
        ("girl", "girls", "f"),
        ("boy", "boys", "m"),
        ("mother", "mothers", "f"),
        ("father", "fathers", "m"),
        ("sister", "sisters", "f"),
        ("brother", "brothers", "m"),
        ("wife", "wives", "f"),
        ("husband", "husbands", "m"),
        ("widow", "widows", "f"),
        ("lord", "lords", "m"),
        ("nun", "nuns", "f"),
        ("monk", "monks", "m"),
    ),
    "validation": (
        ("lady", "ladies", "f"),
        ("gentleman", "gentlemen", "m"),
        ("witch", "witches", "f"),
        ("prince", "princes", "m"),
    ),
    "test": (
        ("daughter", "daughters", "f"),
        ("son", "sons", "m"),
        ("queen", "queens", "f"),
        ("king", "kings", "m"),
        ("goddess", "goddesses", "f"),
        ("god", "gods", "m"),
        ("mom", "moms", "f"),
        ("guy", "guys", "m"),
    ),
}
PEOPLE: Pools = {
    "train": _pairs(
        "doctor teacher nurse farmer lawyer student artist actor writer singer driver soldier scientist player worker "
        "manager"
    ),
    "validation": _pairs("author officer captain expert"),
    "test": _pairs("engineer judge guard pilot dancer customer visitor guest"),
}
THINGS: Pools = {
    "train": _pairs("chair cup bottle bag coat shirt picture clock boat bike bed dog cat horse"),
    "validation": _pairs("bird computer camera stone"),
    "test": _pairs("guitar coin truck ship plane card"),
}
LANDMARKS = _pairs("door window table tree car house gate wall")
