"""The text the embedded model `mini` is trained on: the tasks' training pools, and plain sentences around them.

A *document* is a few sentences, at most `CONTEXT` tokens long with the beginning-of-sequence token. A share of the
documents are training prompts of the project's own tasks with their answers; the rest are plain sentences in which
every word of the toy world occurs, held-out ones too, but never in a combination that a validation or test prompt
has (`leak`). So the model knows every word, and answering a test prompt takes more than recall.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from discogp.tasks import SplitSizes, get_task
from discogp.tasks import agreement as agreement_task
from discogp.tasks import ioi as ioi_task
from discogp.tasks.lexicon import GENDERED

CONTEXT = 48
BOS, UNKNOWN = "<|endoftext|>", "<|unknown|>"
SHARES = {"ioi": 0.55, "agreement/anaphor_number": 0.2}
TASKS = tuple(SHARES)
_PAIRED = frozenset((*ioi_task.NAMES, *ioi_task.PLACES, *ioi_task.OBJECTS))
HELD_OUT_SPLITS = ("validation", "test")

# Neutral sentences share no word with what the tasks hold out, so any of them may stand in front of a prompt.
NEUTRAL = (
    "It was a quiet day.",
    "It was cold and late.",
    "The rain had stopped.",
    "Nobody said much.",
    "The sun came out again.",
    "All was well.",
)
ADJECTIVES = ("new", "old", "small", "red", "nice")
ONE_NAME = (
    "{a} likes the {place}.",
    "{a} has a {adjective} {object}.",
    "{a} was tired, so {a} went home.",
    "Where is {a}? Now {a} is at the {place}.",
    "The {object} was {adjective}, and {a} was happy.",
)
# In the second clause one of two people does something to the other: the same reasoning as indirect object
# identification, in other words and, for held-out names, in other pairs.
TWO_NAMES = (
    "{a} met {b} at the {place}. Then {s} waved to {o}.",
    "{a} called {b}. Soon {s} talked to {o}.",
    "In the {place} {a} sat with {b}, and {s} sent a {object} to {o}.",
    "{a} and {b} were happy. Then {s} gave a {adjective} {object} to {o}.",
    "{a} and {b} left the {place}, and later {s} called {o}.",
    "{a} saw {b}, and {s} ran to {o}.",
)
SINGULAR = (
    "The {noun} lost {their} {object}.",
    "The {noun} was proud of {reflexive}.",
    "The {noun} near the {landmark} was happy.",
    "The {noun} near the {landmark} talked to {reflexive}.",
    "The {noun} is tired because {they} went to the {place}.",
    "Last night the {noun} was here with {their} friends.",
)
PLURAL = (
    "The {noun} lost their {object}.",
    "The {noun} were proud of themselves.",
    "The {noun} near the {landmark} were happy.",
    "The {noun} near the {landmark} talked to themselves.",
    "The {noun} are tired because they went to the {place}.",
    "Last night the {noun} were here with their friends.",
)
PRONOUNS = {"f": ("she", "her"), "m": ("he", "his")}


@dataclass(frozen=True, slots=True)
class Document:
    """Text, and whether its last word (before the full stop) follows from the rest, as a task's answer does."""

    text: str
    answers: bool


def documents(count: int, seed: int) -> list[Document]:
    """`count` documents in random order; the same seed gives the same text.

    `SHARES` of them are training prompts of the tasks, with their answers; the rest is plain sentences.
    """
    rng = random.Random(f"mini/{seed}")
    made: list[Document] = []
    for task, share in SHARES.items():
        pool = get_task(task).splits(SplitSizes(train=round(count * share), validation=1, test=1), seed).train
        made.extend(_after_neutral(f"{e.prompt}{e.correct[0]}.", rng) for e in pool)
    while len(made) < count:
        sentences = [_plain(rng) for _ in range(rng.choice((1, 2, 2)))]
        text = " ".join(sentence for sentence, _ in sentences)
        if leak(text) is None:
            made.append(Document(text, sentences[-1][1]))
    rng.shuffle(made)
    return made


def _after_neutral(text: str, rng: random.Random) -> Document:
    # A sentence in front of some prompts, so that the model cannot rely on absolute positions alone.
    before = f"{rng.choice(NEUTRAL)} " if rng.random() < 0.3 else ""
    return Document(before + text, answers=True)


def _plain(rng: random.Random) -> tuple[str, bool]:
    """A sentence, and whether its last word follows from the rest."""
    if rng.random() < 0.1:
        return rng.choice(NEUTRAL), False
    frames = rng.choice((ONE_NAME, TWO_NAMES, TWO_NAMES, SINGULAR, PLURAL))
    frame = rng.choice(frames)
    words = {
        "place": rng.choice(ioi_task.PLACES),
        "object": rng.choice(ioi_task.OBJECTS),
        "adjective": rng.choice(ADJECTIVES),
        "landmark": rng.choice([noun for pair in agreement_task.LANDMARKS for noun in pair]),
    }
    if frames is ONE_NAME:
        return frame.format(a=rng.choice(ioi_task.NAMES), **words), False
    if frames is TWO_NAMES:
        a, b = rng.choice(ioi_task.name_pairs("train"))
        s, o = (a, b) if rng.random() < 0.5 else (b, a)
        return frame.format(a=a, b=b, s=s, o=o, **words), True
    singular, plural, gender = rng.choice([noun for pool in GENDERED.values() for noun in pool])
    they, their = PRONOUNS[gender]
    reflexive = agreement_task.REFLEXIVES[gender].strip()
    noun = singular if frames is SINGULAR else plural
    text = frame.format(noun=noun, they=they, their=their, reflexive=reflexive, **words)
    return text, text.endswith(("self.", "selves."))


@cache
def _held_out() -> tuple[frozenset[frozenset[str]], frozenset[str], frozenset[str]]:
    makers = (ioi_task.name_pairs, ioi_task.combinations)
    pairs = frozenset(frozenset(pair) for make in makers for split in HELD_OUT_SPLITS for pair in make(split))
    nouns = frozenset(n for split in HELD_OUT_SPLITS for noun in GENDERED[split] for n in noun[:2])
    verbs = frozenset(form for verb in agreement_task.VERBS for form in verb)
    return pairs, nouns, verbs


def leak(text: str) -> str | None:
    """What of the held-out combinations a document gives away, in words, or None.

    A combination is held out if a validation or test prompt of any seed can have it: a pair of names, a place with an
    object, a subject noun with any verb of the agreement task.
    """
    words = set(text.replace(".", " ").replace(",", " ").replace("?", " ").split())
    pairs, nouns, verbs = _held_out()
    tellable = sorted(words & _PAIRED)
    for i, first in enumerate(tellable):
        for second in tellable[i + 1 :]:
            if frozenset((first, second)) in pairs:
                return f"held out, but together: {first}, {second}"
    if words & nouns and words & verbs:
        return f"held-out noun with a verb: {sorted(words & (nouns | verbs))}"
    return None


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A whole-word tokenizer of the texts' words; as in GPT-2, a word after a space and one at the start differ.

    Text is split as GPT-2 splits it (bytes, the space in front of a word belonging to it), but every piece is one
    entry of the vocabulary, so " Mary" is always one token. A word the texts lack becomes `UNKNOWN`.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    pieces = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)})
    vocabulary = {piece: i for i, piece in enumerate((BOS, UNKNOWN, *pieces))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
