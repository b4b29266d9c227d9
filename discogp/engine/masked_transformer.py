"""MaskedTransformer: a model whose edges can be turned down, one by one, by a mask that is an argument.

Axes: source s (P), reader r (R), batch b, position t, residual stream D, vocabulary V.
The input of reader r is Σ_s [m(s→r)·x_s + (1−m(s→r))·x̃_s], with x̃ the ablation's replacement (arXiv 2407.03779,
section 3): zero, the mean over data, or the activation on the paired counterfactual prompt.
How the pass works, and why it is fast, is told in `masked_pass`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discogp.circuits.graph import ComputationGraph
from discogp.engine.folded import FoldedWeights
from discogp.engine.gathered_pass import GatheredPass, differences
from discogp.engine.masked_pass import DifferentiablePass, MaskedPass
from discogp.engine.plain import plain_forward
from discogp.engine.replacement import Replacement
from discogp.engine.workspace import Workspace
from discogp.errors import ConfigError, ModelError
from discogp.models.turns import give_way
from discogp.models.weights import ModelWeights
from discogp.terms import Bos, Precision

if TYPE_CHECKING:
    from discogp.models.loading import Checkpoint


class MaskedTransformer:
    """A loaded model and its computation graph. Immutable: masks are arguments, parameters are never written to."""

    def __init__(
        self,
        weights: ModelWeights,
        name: str,
        tokenizer: Any = None,
        bos_id: int | None = None,
        notes: tuple[str, ...] = (),
        bos: Bos = "auto",
    ) -> None:
        self.weights = weights
        self.config = weights.config
        shape = weights.config
        self.graph = ComputationGraph(shape.n_layers, shape.n_heads, shape.parallel, joint_heads=shape.post_norms)
        self.folded = FoldedWeights.of(weights)
        self.valid = torch.from_numpy(self.graph.exists).to(weights.embed)
        """[R, P], 1 where the graph has an edge."""
        self.name = name
        self.tokenizer = tokenizer
        self.bos_id = bos_id
        self.notes = notes
        """In what its files differ from it without changing a logit: to be told with whatever it computes."""
        self.bos: Bos = bos
        """Where the token `bos_id` stands, for tasks that do not say."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> MaskedTransformer:
        return cls(checkpoint.weights, checkpoint.name, checkpoint.tokenizer, checkpoint.bos_id, checkpoint.notes)

    def in_precision(self, precision: Precision) -> MaskedTransformer:
        """This model, or a copy of it whose weights and activations are bf16."""
        if precision == "fp32":
            return self
        weights = self.weights.to(dtype=torch.bfloat16)
        return MaskedTransformer(weights, self.name, self.tokenizer, self.bos_id, self.notes, self.bos)

    @property
    def device(self) -> torch.device:
        return self.weights.embed.device

    def check_tokens(self, tokens: Tensor) -> Int[Tensor, "b t"]:
        """The tokens on the model's device; ModelError for a shape or an id that the model does not have."""
        tokens = torch.as_tensor(tokens)
        if tokens.ndim != 2 or 0 in tokens.shape or tokens.is_floating_point():
            raise ModelError(
                f"tokens have shape {tuple(tokens.shape)} and dtype {tokens.dtype}; they must be whole numbers "
                "[batch, position] with at least one of each"
            )
        if tokens.shape[1] > self.config.max_positions:
            raise ModelError(
                f"{tokens.shape[1]} positions; {self.name} takes at most {self.config.max_positions}; use shorter ones"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.config.d_vocab:
            raise ModelError(
                f"token id {low if low < 0 else high} is outside {self.name}'s 0–{self.config.d_vocab - 1}"
            )
        return tokens.to(self.device)

    @torch.no_grad()
    def logits(
        self, tokens: Tensor, last: Int[Tensor, "b"] | None = None
    ) -> Float[Tensor, "b t V"] | Float[Tensor, "b V"]:
        """The unmasked model: logits [b, t, V], or [b, V] at positions `last` [b]."""
        give_way()
        return plain_forward(self.weights, self.check_tokens(tokens), last)

    @torch.no_grad()
    def source_outputs(
        self, tokens: Int[Tensor, "b t"], folded: FoldedWeights | None = None
    ) -> Float[Tensor, "P b t D"]:
        """[P, b, t, D] what every source of the unmasked model writes (centred for LayerNorm models)."""
        give_way()
        folded = folded or self.folded
        out = folded.source.embed.new_empty(self.graph.n_sources, *tokens.shape, self.config.d_model)
        plain_forward(folded.source, tokens, last=torch.zeros_like(tokens[:, 0]), sources=out)
        return folded.centre(out)

    def replacement(
        self,
        ablation: str,
        tokens: Int[Tensor, "b t"],
        counterfactual: Tensor | None,
        lengths: Int[Tensor, "_"] | None = None,
        folded: FoldedWeights | None = None,
    ) -> Replacement | None:
        """x̃ of an ablation for these tokens: None for zero.

        resample: the outputs on `counterfactual`, same shape as tokens. mean: each source's mean output over all
        prompts and positions (padding left out) of `counterfactual`, or of `tokens` if there is none.
        """
        if ablation == "zero":
            return None
        if ablation == "resample":
            if counterfactual is None:
                raise ConfigError(
                    "resample ablation needs counterfactual prompts of the same lengths; give them, or use zero or mean"
                )
            counterfactual = self.check_tokens(counterfactual)
            if counterfactual.shape != tokens.shape:
                raise ConfigError(
                    f"counterfactual tokens have shape {tuple(counterfactual.shape)}; they must be of the prompts' "
                    f"shape {tuple(tokens.shape)}"
                )
            return Replacement(self.source_outputs(counterfactual, folded), counterfactual)
        if ablation == "mean":
            data = tokens if counterfactual is None else self.check_tokens(counterfactual)
            outputs = self.source_outputs(data, folded)
            if lengths is None:
                return Replacement(outputs.mean((1, 2), keepdim=True))
            real = torch.arange(data.shape[1], device=data.device) < lengths[:, None]
            return Replacement((outputs * real[..., None]).sum((1, 2), keepdim=True) / real.sum())
        raise ConfigError(f"ablation is {ablation!r}; allowed: zero, mean, resample")

    def masked(
        self,
        tokens: Int[Tensor, "b t"],
        mask: Tensor,
        *,
        last: Int[Tensor, "b"] | None = None,
        replacement: Replacement | None = None,
        folded: FoldedWeights | None = None,
        candidates: Int[Tensor, "b C"] | None = None,
        workspace: Workspace | None = None,
        recompute: bool = False,
        wanted: Bool[Tensor, "R P"] | None = None,
    ) -> Float[Tensor, "b t V"] | Float[Tensor, "b V"] | Float[Tensor, "b C"]:
        """Logits with every edge scaled by `mask` [R, P] (0 off, 1 on, between: a mixture), differentiable in the mask.

        [b, t, V]; [b, V] at the positions `last` [b]; [b, C] at `last` for the token ids `candidates` [b, C].
        Entries of the mask outside the graph are not read and get no gradient. With a `workspace`, the
        backward pass must come before the next masked pass in it. `recompute`: less memory for a tenth more time, see
        `MaskedPass`. `wanted`: the entries of the mask that get a gradient, by default those of all edges. The fewer
        edges are on, or off, and the fewer gradients are wanted, the quicker (`GatheredPass`).
        """
        shape = (self.graph.n_readers, self.graph.n_sources)
        if tuple(mask.shape) != shape:
            raise ConfigError(
                f"the edge mask has shape {tuple(mask.shape)}; this model's is {shape}, readers by sources"
            )
        give_way()
        tape = torch.is_grad_enabled() and mask.requires_grad
        given = (
            self.graph,
            self.valid,
            folded or self.folded,
            tokens,
            last,
            replacement,
            candidates,
            workspace or Workspace(),
            tape,
            recompute,
            wanted,
        )
        found = differences(self.graph, mask, self.valid, tape and recompute)
        run = MaskedPass(*given) if found is None else GatheredPass(*given, few=found[0], off=found[1])
        if tape:
            logits = DifferentiablePass.apply(mask, run)
            assert isinstance(logits, Tensor)
            return logits
        with torch.no_grad():
            return run.forward(mask)


def load_model(
    name_or_path: str | os.PathLike[str], device: str | torch.device = "cpu", bos: Bos = "auto"
) -> MaskedTransformer:
    """A known model by name, a Hugging Face folder, or a model of the hub, ready for masks. ModelError if it cannot.

    `bos`: whether its opening token stands before the prompts of tasks that do not say otherwise.
    """
    if bos not in get_args(Bos):
        raise ConfigError(f"bos is {bos!r}; allowed: {', '.join(get_args(Bos))}")
    from discogp.models.loading import load_checkpoint

    model = MaskedTransformer.from_checkpoint(load_checkpoint(name_or_path, device))
    model.bos = bos
    return model
