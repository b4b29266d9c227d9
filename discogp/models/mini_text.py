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

CONTEXT = 48
BOS, UNKNOWN = "<|endoftext|>", "<|unknown|>"
TASKS = ("ioi", "agreement/anaphor_number")
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


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the documents; the rest are plain sentences."""

    ioi: float
    agreement: float
    mixed_pairs: float


def documents(count: int, seed: int, mix: Mix) -> list[Document]:
    """`count` documents in random order; the same seed and mix give the same text."""
    rng = random.Random(f"mini/{seed}")
    made: list[Document] = []
    for task, share in zip(TASKS, (mix.ioi, mix.agreement), strict=True):
        pool = get_task(task).splits(SplitSizes(train=round(count * share), validation=1, test=1), seed).train
        made.extend(_after_neutral(f"{e.prompt}{e.correct[0]}.", rng) for e in pool)
    made.extend(_after_neutral(_mixed_pair(rng), rng) for _ in range(round(count * mix.mixed_pairs)))
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


def _mixed_pair(rng: random.Random) -> str:
    """An IOI sentence on a held-out name and a name of another pool, about a training combination of words.

    Held-out names would otherwise never follow "gave the book to", and a model of text as small as this learns that
    they never do. Pairs of two held-out names of one split, which are all that its prompts have, stay unseen.
    """
    pool = rng.choice(HELD_OUT_SPLITS)
    pair = [rng.choice(ioi_task.NAMES[pool]), rng.choice([n for n in _names() if n not in ioi_task.NAMES[pool]])]
    rng.shuffle(pair)
    x, y = pair
    s, o = (x, y) if rng.random() < 0.5 else (y, x)
    place, thing = rng.choice(ioi_task.combinations("train"))
    return f"{rng.choice(ioi_task.TEMPLATES).format(x=x, y=y, s=s, place=place, object=thing)} {o}."


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
        return frame.format(a=rng.choice(_names()), **words), False
    if frames is TWO_NAMES:
        a, b = rng.sample(_names(), 2)
        while _same_held_out_pool(a, b):
            a, b = rng.sample(_names(), 2)
        s, o = (a, b) if rng.random() < 0.5 else (b, a)
        return frame.format(a=a, b=b, s=s, o=o, **words), True
    singular, plural, gender = rng.choice([noun for pool in agreement_task.NOUNS.values() for noun in pool])
    they, their = PRONOUNS[gender]
    reflexive = agreement_task.REFLEXIVES[gender].strip()
    noun = singular if frames is SINGULAR else plural
    text = frame.format(noun=noun, they=they, their=their, reflexive=reflexive, **words)
    return text, text.endswith(("self.", "selves."))


@cache
def _names() -> tuple[str, ...]:
    return tuple(name for pool in ioi_task.NAMES.values() for name in pool)


def _same_held_out_pool(a: str, b: str) -> bool:
    return any(a in ioi_task.NAMES[split] and b in ioi_task.NAMES[split] for split in HELD_OUT_SPLITS)


@cache
def _held_out() -> tuple[list[frozenset[str]], list[frozenset[str]], frozenset[str], frozenset[str]]:
    names = [frozenset(ioi_task.NAMES[split]) for split in HELD_OUT_SPLITS]
    pairs = [frozenset(pair) for split in HELD_OUT_SPLITS for pair in ioi_task.combinations(split)]
    nouns = frozenset(n for split in HELD_OUT_SPLITS for noun in agreement_task.NOUNS[split] for n in noun[:2])
    verbs = frozenset(form for verb in agreement_task.VERBS for form in verb)
    return names, pairs, nouns, verbs


def leak(text: str) -> str | None:
    """What of the held-out combinations a document gives away, in words, or None.

    A combination is held out if a validation or test prompt of any seed can have it: two of a split's own names, its
    places with its objects, its subject nouns with any verb of the agreement task.
    """
    words = set(text.replace(".", " ").replace(",", " ").replace("?", " ").split())
    names, pairs, nouns, verbs = _held_out()
    for pool in names:
        if len(words & pool) > 1:
            return f"held-out names together: {sorted(words & pool)}"
    for pair in pairs:
        if pair <= words:
            return f"held-out place and object together: {sorted(pair)}"
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
