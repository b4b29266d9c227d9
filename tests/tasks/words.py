"""Tokenizers for the tests, made in memory: whole words in the styles of known models, and one byte per token."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from discogp.mini.text import BOS, UNKNOWN, build_tokenizer


def word_tokenizer(*texts: str) -> PreTrainedTokenizerFast:
    """Every word of the texts, with its leading space, is one token; others are unknown."""
    return PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(texts), bos_token=BOS, unk_token=UNKNOWN, pad_token=BOS
    )


def bos_adding_tokenizer(*texts: str) -> PreTrainedTokenizerFast:
    """The same, but it puts the beginning-of-sequence token in front of every text, as Llama's does."""
    tokenizer = build_tokenizer(texts)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, unk_token=UNKNOWN)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte: every answer of more than one letter has several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _styled(split: pre_tokenizers.PreTokenizer, decoder: decoders.Decoder, texts: tuple[str, ...]) -> Any:
    pieces = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)})
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate((BOS, UNKNOWN, *pieces))}, UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, unk_token=UNKNOWN, pad_token=BOS)


def gpt2_style(*texts: str) -> PreTrainedTokenizerFast:
    """A word has its space in front; a number is cut after every second digit."""
    pairs = pre_tokenizers.Split(Regex(" ?[0-9]{2}"), "isolated")
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _styled(pre_tokenizers.Sequence([pairs, pieces]), decoders.ByteLevel(), texts)


def smollm2_style(*texts: str) -> PreTrainedTokenizerFast:
    """A word has its space in front; every digit is a token, and the space before a number one more."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _styled(pre_tokenizers.Sequence([digits, pieces]), decoders.ByteLevel(), texts)


def llama_style(*texts: str) -> PreTrainedTokenizerFast:
    """As SentencePiece: a text begins with a space that it does not have; digits and marks are single tokens."""
    spaces = pre_tokenizers.Metaspace(prepend_scheme="first")
    marks = pre_tokenizers.Split(Regex("[0-9\n]|[^\\w\u2581]"), "isolated")
    return _styled(pre_tokenizers.Sequence([spaces, marks]), decoders.Metaspace(), texts)
