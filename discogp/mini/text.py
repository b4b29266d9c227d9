"""The text the embedded model `mini` is trained on: the tasks' training pools, and plain sentences around them.

A *document* is a few sentences, at most `CONTEXT` tokens long with the beginning-of-sequence token. Most documents are
training prompts of the project's own tasks with their answers; the rest are plain sentences in which every word of the
toy world occurs, held-out ones too, but never in a combination that a validation or test prompt has (`mini_leaks`).
So the model knows every word, and answering a test prompt takes more than recall.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from discogp.mini.leaks import leak
from discogp.tasks import Example, SplitSizes, fitted, get_task
from discogp.tasks.generated import agreement, capitals, docstring, greater_than, ioi
from discogp.tasks.generated import gendered_pronoun as pronoun
from discogp.tasks.generated.induction import Induction
from discogp.tasks.generated.lexicon import GENDERED, LANDMARKS, NAMES, PEOPLE, THINGS

CONTEXT = 48
BOS, UNKNOWN = "<|endoftext|>", "<|unknown|>"
# How much of the text each task takes; what is left is plain sentences.
SHARES = {
    "ioi": 0.20,
    "agreement/anaphor_number": 0.02,
    "agreement/anaphor_number_distractor": 0.02,
    "agreement/anaphor_gender": 0.02,
    "agreement/anaphor_gender_distractor": 0.03,
    "agreement/subject_verb": 0.03,
    "agreement/subject_verb_distractor": 0.03,
    "agreement/determiner_noun": 0.02,
    "agreement/determiner_noun_distractor": 0.03,
    "gendered_pronoun": 0.03,
    "greater_than": 0.07,
    "capitals": 0.04,
    "docstring": 0.06,
    "induction": 0.15,
}
TASKS = tuple(SHARES)
_SEQUENCES = (6, 8, 10, 12, 14)  # lengths of induction's sequences
_ROUND = 1000

# Written in front of a word that follows from the words before it (and of its space): such words count more.
MARK = "^"
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
# A name tells the gender, a noun its gender and number, in words that are no answer of the tasks that ask for it,
# or in other sentences than theirs.
ONE_NAME = (
    "{a} likes the {place}.",
    "{a} has a {adjective} {object}.",
    "{a} was tired, so^ {a} went home.",
    "Where is {a}? Now^ {a} is at the {place}.",
)
NAME_AND_GENDER = (
    "{a} lost^ {their} {object}.",
    "{a} was proud of^ {reflexive}.",
    "{a} is tired because^ {they} went to the {place}.",
    "Last night {a} was here with^ {their} friends.",
    "{a} said that^ {they} liked the {place}.",
    "Where is {a}? We saw^ {them} at the {place}.",
    "We met {a} and gave^ {them} the {object}.",
    "When {a} came home,^ {they} was tired.",
    "The {object} of {a} is at^ {their} house.",
)
# In the second clause one of two people does something to the other: the same reasoning as indirect object
# identification, in other words and, for held-out names, in other pairs.
TWO_NAMES = (
    "{a} met {b} at the {place}. Then {s} waved to^ {o}.",
    "{a} called {b}. Soon {s} talked to^ {o}.",
    "In the {place} {a} sat with {b}, and {s} sent a {object} to^ {o}.",
    "{a} and {b} were happy. Then {s} gave a {adjective} {object} to^ {o}.",
    "{a} and {b} left the {place}, and later {s} called^ {o}.",
    "{a} saw {b}, and {s} ran to^ {o}.",
)
GENDERED_SINGULAR = (
    "The {noun} lost^ {their} {object}.",
    "The {noun} was proud of^ {reflexive}.",
    "The {noun} near the {landmark}^ was happy.",
    "The {noun} near the {landmark} talked to^ {reflexive}.",
    "The {noun} is tired because^ {they} went to the {place}.",
    "Last night the {noun} was here with^ {their} friends.",
    "We saw one {noun} and then two^ {plural}.",
)
GENDERED_PLURAL = (
    "The {noun} lost^ their {object}.",
    "The {noun} were proud of^ themselves.",
    "The {noun} near the {landmark}^ were happy.",
    "The {noun} near the {landmark} talked to^ themselves.",
    "The {noun} are tired because^ they went to the {place}.",
    "Last night the {noun} were here with^ their friends.",
    "We saw two {noun} and then one^ {singular}.",
)
# Number is shown by what stands in front or behind, never by the verbs and determiners that the tasks ask for.
SINGULAR = (
    "One {noun} came from the {place}.",
    "We saw one {noun} near the {landmark}.",
    "Every {noun}^ likes the {place}.",
    "The {noun}^ itself^ looks {adjective}.",
    "The {noun}^ comes from the {place}.",
    "The {adjective} {noun} near the {landmark}^ comes from the {place}.",
    "We saw one {noun} and then two^ {plural}.",
    "There were many {plural}, and one^ {noun} near the {landmark}.",
    "One {adjective}^ {noun} and two {plural} came.",
)
PLURAL = (
    "Two {noun} came from the {place}.",
    "We saw many {noun} near the {landmark}.",
    "All {noun}^ like the {place}.",
    "The {noun}^ themselves^ look {adjective}.",
    "The {noun}^ come from the {place}.",
    "The {adjective} {noun} near the {landmark}^ come from the {place}.",
    "We saw two {noun} and then one^ {singular}.",
    "There was one {singular}, and many^ {noun} near the {landmark}.",
    "Two {adjective}^ {noun} and one {singular} came.",
)
# What somebody does, or several do: after openers of their own, since only the task's are followed by forms of "be".
OPENERS = ("Every day the", "Now the", "Then the", "Here the")
DOES = (
    ("{opener} {noun}^ comes from the {place}.", "{opener} {noun}^ come from the {place}."),
    ("{opener} {noun}^ likes the {place}.", "{opener} {noun}^ like the {place}."),
    ("{opener} {adjective} {noun}^ knows the {place}.", "{opener} {adjective} {noun}^ know the {place}."),
    ("{opener} {adjective} {noun}^ itself^ looks {second}.", "{opener} {adjective} {noun}^ themselves^ look {second}."),
    (
        "{opener} {noun} near the {landmark}^ likes the {place}.",
        "{opener} {noun} near the {landmark}^ like the {place}.",
    ),
)
WORD = ("We need the {word}.", "Everyone talked about the {word}.", "The {word} and the {second} went on.")
FACTS = (
    "They went to {country} in the year {year}.",
    "In the year {year} we saw {capital}.",
    "They saw the capital city of {country}, and its name is^ {capital}.",
    "The {event} lasted from the year {century}01 to the year {end}.",
)
EVERYONE = tuple(name for split in NAMES for name in ioi.names(split))
PRONOUNS = {"f": ("she", "her", "her"), "m": ("he", "his", "him")}


@dataclass(frozen=True, slots=True)
class Document:
    """Text, and where in it (in characters) words begin that follow from those before; are all others `random`?"""

    text: str
    follows: frozenset[int]
    random: bool = False


def document(marked: str, random: bool = False) -> Document:
    """A document of text in which `MARK` stands in front of every word that follows."""
    first, *rest = marked.split(MARK)
    starts = accumulate([len(first), *map(len, rest[:-1])]) if rest else ()
    return Document(first + "".join(rest), frozenset(starts), random)


def documents(count: int, seed: int) -> tuple[list[Document], PreTrainedTokenizerFast]:
    """`count` documents in random order, and the tokenizer of their words; the same seed gives the same text."""
    rng = random.Random(f"mini/{seed}")
    made: list[Document] = []
    for task, share in SHARES.items():
        if task != Induction.name:
            made.extend(_asked(task, round(count * share), seed, rng))
    repeated = round(count * SHARES[Induction.name])
    while len(made) < count - repeated:
        found = document(" ".join(_plain(rng) for _ in range(rng.choice((1, 2, 2)))))
        if leak(found.text) is None:
            made.append(found)
    tokenizer = fast_tokenizer(found.text for found in made)
    made.extend(_repeated(tokenizer, repeated, seed))
    rng.shuffle(made)
    return made, tokenizer


def _prompts(tasks: Iterable[tuple[str, int]]) -> Iterator[Example]:
    """Training prompts without end. A task may have fewer than are wanted: then some come again."""
    for task, seed in tasks:
        yield from get_task(task).splits(SplitSizes(train=_ROUND, validation=1, test=1), seed).train


def _asked(task: str, count: int, seed: int, rng: random.Random) -> Iterator[Document]:
    rounds = ((task, seed + number) for number in range(count // _ROUND + 1))
    for example, _ in zip(_prompts(rounds), range(count), strict=False):
        answer = rng.choice(example.correct)
        if task == "docstring":
            yield document(f"{example.prompt}{MARK}{answer}:")
        else:
            # A sentence in front of some prompts, so that the model cannot rely on absolute positions alone.
            before = f"{rng.choice(NEUTRAL)} " if rng.random() < 0.3 else ""
            yield document(f"{before}{example.prompt}{MARK}{answer}.")


def _repeated(tokenizer: PreTrainedTokenizerFast, count: int, seed: int) -> Iterator[Document]:
    tasks = [fitted(Induction(length), tokenizer) for length in _SEQUENCES]
    found, number = 0, 0
    while found < count:
        place = number % len(tasks)
        for example in tasks[place].splits(SplitSizes(train=_ROUND, validation=1, test=1), seed + number).train:
            words = (example.prompt + example.correct[0]).split()
            # An opener, the sequence, its first word again: from there on each word follows.
            said = _SEQUENCES[place] + 2
            text = " ".join(words[:said]) + "".join(f"{MARK} {word}" for word in words[said:])
            if found < count and leak(" ".join(words)) is None:
                found += 1
                yield document(text, random=True)
        number += 1


def _plain(rng: random.Random) -> str:
    """A marked sentence."""
    return rng.choices(list(_PLAIN), list(_PLAIN.values()))[0](rng)


def _neutral(rng: random.Random) -> str:
    return rng.choice(NEUTRAL)


def _filler(rng: random.Random) -> dict[str, str]:
    return {
        "place": rng.choice(ioi.PLACES),
        "object": rng.choice(ioi.OBJECTS),
        "adjective": rng.choice(ADJECTIVES),
        "landmark": rng.choice([noun for pair in LANDMARKS for noun in pair]),
    }


def _gender(gender: str) -> dict[str, str]:
    they, their, them = PRONOUNS[gender]
    return {"they": they, "their": their, "them": them, "reflexive": agreement.REFLEXIVES[gender].strip()}


def _one_name(rng: random.Random) -> str:
    name = rng.choice(EVERYONE)
    return rng.choice(ONE_NAME).format(a=name, **_filler(rng))


def _name_and_gender(rng: random.Random) -> str:
    gender = rng.choice(("f", "m"))
    name = rng.choice([name for pools in NAMES.values() for name in pools[gender]])
    return rng.choice(NAME_AND_GENDER).format(a=name, **_gender(gender), **_filler(rng))


def _two_names(rng: random.Random) -> str:
    a, b = rng.sample(EVERYONE, 2)
    s, o = rng.sample((a, b), 2)
    return rng.choice(TWO_NAMES).format(a=a, b=b, s=s, o=o, **_filler(rng))


def _gendered(rng: random.Random) -> str:
    singular, plural, gender = rng.choice([noun for pool in GENDERED.values() for noun in pool])
    noun, frames = rng.choice(((singular, GENDERED_SINGULAR), (plural, GENDERED_PLURAL)))
    return rng.choice(frames).format(noun=noun, singular=singular, plural=plural, **_gender(gender), **_filler(rng))


def _counted(rng: random.Random) -> str:
    singular, plural = rng.choice([noun for pools in (PEOPLE, THINGS) for pool in pools.values() for noun in pool])
    noun, frames = rng.choice(((singular, SINGULAR), (plural, PLURAL)))
    return rng.choice(frames).format(noun=noun, singular=singular, plural=plural, **_filler(rng))


def _does(rng: random.Random) -> str:
    forms = rng.choice([noun for pool in PEOPLE.values() for noun in pool])
    number = rng.randrange(2)
    words = {"opener": rng.choice(OPENERS), "noun": forms[number], "second": rng.choice(ADJECTIVES)}
    return rng.choice(DOES)[number].format(**{**_filler(rng), **words})


def _word(rng: random.Random) -> str:
    pools = (*docstring.ARGUMENTS.values(), *greater_than.EVENTS.values(), docstring.WORDS, pronoun.ROLES)
    first, second = rng.sample([word for pool in pools for word in pool], 2)
    return rng.choice(WORD).format(word=first, second=second)


def _fact(rng: random.Random) -> str:
    century = rng.choice(greater_than.CENTURIES)
    country = rng.choice(list(capitals.CAPITALS))
    return rng.choice(FACTS).format(
        country=country,
        capital=capitals.CAPITALS[country],
        year=f"{century}{rng.randrange(100):02d}",
        event=rng.choice(greater_than.EVENTS["train"]),
        century=century,
        end=f"{century}{rng.randrange(2, 100):02d}",
    )


# Kinds of plain sentences, and how often each comes.
_PLAIN = {
    _neutral: 1,
    _one_name: 1,
    _name_and_gender: 5,
    _two_names: 3,
    _gendered: 4,
    _counted: 5,
    _does: 4,
    _word: 2,
    _fact: 2,
}


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A whole-word tokenizer of the texts' words; as in GPT-2, a word after a space and one at the start differ.

    Text is split as GPT-2 splits it (bytes, the space in front of a word belonging to it), but every piece is one
    entry of the vocabulary, so " Mary" is always one token. Numbers are cut after every second digit: " 1734" is
    " 17" and "34". A word the texts lack becomes `UNKNOWN`.
    """
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(" ?[0-9]{2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    pieces = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)})
    vocabulary = {piece: i for i, piece in enumerate((BOS, UNKNOWN, *pieces))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def fast_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """The same as transformers saves and loads it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(texts),
        bos_token=BOS,
        eos_token=BOS,
        pad_token=BOS,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
