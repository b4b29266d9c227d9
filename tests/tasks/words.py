"""Tokenizers for the tests, made in memory: whole words, and one byte per token."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from discogp.models.mini_text import BOS, UNKNOWN, build_tokenizer


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
