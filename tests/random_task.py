"""Random prompts for tiny random models, which have no words."""

from __future__ import annotations

import torch

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.prompts.prepare import TaskData
from discogp.tasks import Example, Prompts


def prompts_of(model: MaskedTransformer, n: int, seed: int) -> Prompts:
    """Random prompts whose right answer is what the model itself says, so that it has a behaviour to find."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 97, (n, 6), generator=generator)
    lengths = torch.randint(3, 7, (n,), generator=generator)
    ranked = model.logits(tokens, lengths - 1).argsort(-1, descending=True)
    examples = tuple(Example(f"{seed} {i}", None, (" a",), (" b",)) for i in range(n))
    other = torch.randint(1, 97, (n, 6), generator=generator)
    return Prompts(tokens, lengths, other, ranked[:, :1], ranked[:, 30:31], examples)


def random_data(model: MaskedTransformer) -> TaskData:
    """12 training, 8 validation and 8 test prompts."""
    splits = [prompts_of(model, n, seed) for seed, n in enumerate((12, 8, 8))]
    return TaskData(*splits, task_name="random", full_accuracy=1.0, kept_share=1.0)
