"""The words of the field that are written in files and settings, as types. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Ablation = Literal["zero", "mean", "resample"]
"""What flows along an ablated edge: nothing, the source's mean over the data, or its counterfactual's output."""

ABLATIONS: Mapping[Ablation, str] = {
    "zero": "A cut edge carries nothing. The harshest, and asks for no other prompts.",
    "mean": "A cut edge carries its source's mean over all prompts: what says nothing about this one.",
    "resample": "A cut edge carries what its source says on the prompt's counterfactual, where the answer is another. "
    "The kindest to deep models; every prompt needs a counterfactual of its length.",
}
"""Each in a sentence or two for people."""

Searched = Literal["edges", "weights", "both"]
"""What a search masks, hence what a complement reverses."""

Objective = Literal["task", "kl", "both"]
"""Faithfulness as cross-entropy of the candidates, as full-vocabulary KL to the full model, or their sum."""

Precision = Literal["fp32", "bf16"]
"""What a search computes in."""

Granularity = Literal["weight", "neuron", "head"]
"""Which weights share a mask logit."""

Bos = Literal["auto", "always", "never"]
"""The token that opens a text, in front of a prompt that does not begin with it: where the model expects one (auto; not
before a chat, whose template says what opens it), in front of every prompt, or of none."""

Answers = Literal["token", "whole"]
"""Answers are one token, and others are dropped; or of any number, scored by the sum of their log-probabilities."""

ATTENTION = ("q", "k", "v", "o")
MLP = ("in", "gate", "out")
COMPONENTS = ATTENTION + MLP
"""The weight matrices of a block, as they stand in the names of weight masks: a{l}.q … a{l}.o, m{l}.in … m{l}.out."""
