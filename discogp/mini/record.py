"""What is written down of a training of `mini`: its settings, what it took, and what the model scored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Training:
    """Shape and schedule. Weights: how much more a word counts that follows from those before, or is said again."""

    n_layers: int = 4
    n_heads: int = 8
    d_model: int = 256
    steps: int = 4500
    batch: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    warm_up: int = 100
    answer_weight: float = 8.0
    again_weight: float = 4.0


@dataclass(frozen=True, slots=True)
class Score:
    """Of n prompts: the best right answer is above the best wrong one; it is first of all words; mean logit
    difference.
    """

    n: int
    accuracy: float
    top1: float
    logit_diff: float


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training: its seed, on how many threads, and the seconds it took, by the wall and over all threads."""

    seed: int
    threads: int
    wall: float
    processor: float
