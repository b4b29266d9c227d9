"""Every setting of a search, with its one default, its range and its presets. Needs no torch.

Frozen dataclasses; each field carries metadata (`help`, `min`, `max`, `choices`), from which the form in the page, the
command line's help and the checks below are made. Unknown keys raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from discogp.errors import ConfigError
from discogp.methods.settings import Checked, setting, settings_from_dict, settings_to_dict
from discogp.terms import ATTENTION, MLP, Ablation, Granularity, Objective, Precision, Searched

PRESETS: Mapping[str, str] = {
    "quick": "A first look: fewest steps.",
    "balanced": "Good circuits in reasonable time.",
    "thorough": "More steps, sparser circuits.",
    "paper": "The settings of the paper as they stand, for comparison. They fail on deep models.",
}


@dataclass(frozen=True)
class PhaseConfig(Checked):
    """The search of one kind of mask, edges or weights."""

    steps: int = setting(150, "Optimiser steps, one batch each.", min=1, max=100_000)
    learning_rate: float = setting(0.3, "AdamW's step size on the mask logits.", min=1e-5, max=10.0)
    learning_rate_end: float = setting(
        1.0, "Share of the step size that is left at the end (linear in between).", min=0.0, max=1.0
    )
    weight_decay: float = setting(0.0, "AdamW's decay of the mask logits.", min=0.0, max=1.0)
    initial_logit: float = setting(
        1.0, "Where mask logits start; the larger, the surer a mask is kept at first.", min=-10.0, max=20.0
    )
    initial_spread: float = setting(0.01, "Standard deviation of the starting logits.", min=0.0, max=5.0)
    attribution_span: float = setting(
        0.0,
        "If above 0, edges start at initial_logit + span·r³, r the rank (0–1) of each edge's attribution: "
        "important edges start surer.",
        min=0.0,
        max=20.0,
    )
    temperature: float = setting(1.0, "τ of the Gumbel-sigmoid relaxation.", min=1e-3, max=10.0)
    noise: float = setting(
        1.0, "Scale of the logistic noise at the start; 1 is the paper's, deep models need less.", min=0.0, max=1.0
    )
    noise_end: float = setting(1.0, "Scale of the logistic noise at the end (linear in between).", min=0.0, max=1.0)
    sparsity_start: float = setting(1.0, "λ_s, the weight of the sparsity loss, at the start.", min=0.0, max=1e6)
    sparsity_peak: float = setting(100.0, "λ_s at the end of its rise.", min=0.0, max=1e6)
    sparsity_end: float = setting(100.0, "λ_s after its fall.", min=0.0, max=1e6)
    rise: float = setting(0.8, "Share of the steps over which λ_s rises (linearly).", min=0.0, max=1.0)
    fall: float = setting(0.0, "Share of the steps, after the rise, over which λ_s falls.", min=0.0, max=1.0)
    target_density: float = setting(
        0.0,
        "No sparser circuit is looked for once one with at most this share of the edges or weights meets the targets. "
        "0: the search goes on for sparser ones.",
        min=0.0,
        max=1.0,
    )
    polish: int = setting(
        0,
        "Further steps, after the circuit has become sparse, with noise and λ_s as below: what is left is made to say "
        "what the model says.",
        min=0,
        max=100_000,
    )
    polish_noise: float = setting(0.02, "Scale of the logistic noise in these steps.", min=0.0, max=1.0)
    polish_sparsity: float = setting(
        20.0, "λ_s in these steps: enough that the circuit grows no larger.", min=0.0, max=1e6
    )
    polish_learning_rate: float = setting(0.1, "AdamW's step size in these steps.", min=1e-5, max=10.0)
    completeness: float = setting(1.0, "λ_c, the weight of the completeness loss.", min=0.0, max=1e4)
    completeness_from: float = setting(0.0, "Share of the steps after which λ_c counts.", min=0.0, max=1.0)
    completeness_share: float = setting(
        1.0,
        "Share of a batch's prompts that the completeness loss is taken on; a quarter gives circuits as complete.",
        min=0.01,
        max=1.0,
    )

    @property
    def all_steps(self) -> int:
        """Those of the schedule and, numbered on, those of the polish."""
        return self.steps + self.polish

    def polishes(self, step: int) -> bool:
        """Whether a step (from 0) is one of the polish."""
        return step >= self.steps

    def evaluated_at(self, evaluations: int) -> set[int]:
        """After how many steps the circuit is scored: so often in the schedule, then at that pace, and at the end."""
        pace = self.steps / evaluations
        scheduled = {round(pace * (i + 1)) for i in range(evaluations)}
        pace = max(1.0, pace)
        polished = {self.steps + round(pace * (i + 1)) for i in range(int(self.polish / pace))}
        return scheduled | polished | {self.all_steps}

    def sparsity_at(self, step: int) -> float:
        """λ_s at a step (from 0): a rise, then a fall, both linear, then held; another while polishing."""
        if self.polishes(step):
            return self.polish_sparsity
        done = step / max(self.steps - 1, 1)
        if done < self.rise:
            return self.sparsity_start + (self.sparsity_peak - self.sparsity_start) * done / self.rise
        if done < self.rise + self.fall:
            return self.sparsity_peak + (self.sparsity_end - self.sparsity_peak) * (done - self.rise) / self.fall
        return self.sparsity_end if self.fall else self.sparsity_peak

    def learning_rate_at(self, step: int) -> float:
        if self.polishes(step):
            return self.polish_learning_rate
        done = step / max(self.steps - 1, 1)
        return self.learning_rate * (1 + (self.learning_rate_end - 1) * done)

    def completeness_at(self, step: int) -> float:
        return self.completeness if step >= self.completeness_from * self.steps else 0.0

    def noise_at(self, step: int) -> float:
        if self.polishes(step):
            return self.polish_noise
        return self.noise + (self.noise_end - self.noise) * step / max(self.steps - 1, 1)


@dataclass(frozen=True)
class EdgeConfig(PhaseConfig):
    """The search over edges: which of them a step leaves alone."""

    decided_below: float = setting(
        -3.0,
        "An edge whose mask logit is below this is decided: off, without a gradient and not moved, until the next full "
        "step.",
        min=-1e6,
        max=0.0,
    )
    full_every: int = setting(
        25,
        "Every so many steps is a full one, in which decided edges are looked at as well. 1: every step is.",
        min=1,
        max=100_000,
    )

    def full_at(self, step: int) -> bool:
        """Whether a step (from 0) looks at every edge."""
        return step % self.full_every == 0


@dataclass(frozen=True)
class WeightConfig(PhaseConfig):
    """The search over weights: which, and how finely."""

    granularity: Granularity = setting(
        "weight",
        "What has a mask logit of its own: every weight; every MLP neuron and every dimension of a head; or every "
        "head and MLP. The coarser, the less memory.",
        choices=get_args(Granularity),
    )
    layers: str = setting("all", "Layers whose weights are searched, such as 4-7 or 0,3; the others are kept whole.")
    components: str = setting(
        "all",
        "What is searched of them: attention, mlp, or single ones of q, k, v, o, in, gate, out (by weight only), with "
        "commas between; the others are kept whole.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen_layers(self.layers)
        chosen_components(self.components, self.granularity)


def chosen_layers(text: str, n_layers: int | None = None) -> frozenset[int]:
    """The layers (from 0) that "all", "4-7" or "0,3" names. ConfigError for other texts, or layers there are not.

    Without the number of layers only the text is checked.
    """
    if isinstance(text, str) and text.strip() == "all":
        return frozenset(range(n_layers or 0))
    chosen: set[int] = set()
    for part in str(text).split(","):
        first, dash, last = (end.strip() for end in part.partition("-"))
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends) or int(ends[0]) > int(ends[1]):
            raise ConfigError(f"layers is {text!r}; write all, a range such as 4-7, or numbers such as 0,3")
        chosen.update(range(int(ends[0]), int(ends[1]) + 1))
    if n_layers is not None and max(chosen) >= n_layers:
        raise ConfigError(f"layers is {text!r}; this model has layers 0 to {n_layers - 1}")
    return frozenset(chosen)


def chosen_components(text: str, granularity: Granularity = "weight") -> frozenset[str]:
    """The weights that "all", "attention", "mlp" or "q,k" names. ConfigError for other texts, or parts of a unit."""
    groups = {"all": ATTENTION + MLP, "attention": ATTENTION, "mlp": MLP}
    chosen: set[str] = set()
    for part in (part.strip() for part in str(text).split(",")):
        if part not in groups and part not in groups["all"]:
            allowed = ", ".join((*groups, *groups["all"]))
            raise ConfigError(f"components is {text!r}; allowed, with commas between: {allowed}")
        if part not in groups and granularity != "weight":
            raise ConfigError(
                f"components is {text!r}, but by {granularity} weights are searched together; allowed: all, "
                "attention, mlp; or set granularity to weight"
            )
        chosen.update(groups.get(part, (part,)))
    return frozenset(chosen)


@dataclass(frozen=True)
class SearchConfig(Checked):
    """A whole search. Same model, task, config and machine: same circuit."""

    mask: Searched = setting(
        "edges", "What to mask; both: weights first, then edges on the kept weights.", choices=get_args(Searched)
    )
    objective: Objective = setting(
        "both",
        "Faithfulness: cross-entropy of the candidates (task), full-vocabulary KL to the full model (kl), or both.",
        choices=get_args(Objective),
    )
    ablation: Ablation = setting(
        "zero",
        "What flows along an ablated edge: nothing, a mean, or the counterfactual's activation.",
        choices=get_args(Ablation),
    )
    batch_size: int = setting(32, "Prompts in a step.", min=1, max=4096)
    micro_batch: int = setting(
        0,
        "Prompts that go through the model at once, gradients being added up over a batch: less memory, the same "
        "circuit within rounding. 0: as many as fit.",
        min=0,
        max=4096,
    )
    precision: Precision = setting(
        "fp32",
        "What the search computes in. bf16 halves activations; mask logits, losses and every figure stay in fp32.",
        choices=get_args(Precision),
    )
    recompute: bool = setting(
        False, "Compute activations again on the way back instead of keeping them: less memory, a tenth more time."
    )
    checkpoint_every: int = setting(
        50,
        "Steps after which the search is saved, so that it can be continued if interrupted. 0: never.",
        min=0,
        max=100_000,
    )
    seed: int = setting(0, "Seed of the splits, the order of prompts, and the masks' noise.", min=0, max=2**31 - 1)
    evaluations: int = setting(
        20, "How often, in each phase, the thresholded circuit is scored on the validation split.", min=1, max=1000
    )
    target_accuracy: float = setting(
        0.985,
        "Circuits with this share of the full model's validation accuracy are chosen from: the one of least "
        "density · e^KL or, with objective=task, of least density.",
        min=0.0,
        max=1.0,
    )
    target_complement: float = setting(0.55, "…whose complement is no more accurate than this.", min=0.0, max=1.0)
    patience: int = setting(
        4,
        "No sparser circuit is looked for once both targets have been met, λ_s has risen, and the circuit has not "
        "shrunk for so many evaluations in a row. 0: all steps are taken.",
        min=0,
        max=1000,
    )
    edges: EdgeConfig = field(default_factory=EdgeConfig, metadata={"help": "The search over edges."})
    weights: WeightConfig = field(default_factory=WeightConfig, metadata={"help": "The search over weights."})


def config_to_dict(config: SearchConfig) -> dict[str, Any]:
    """Plain data, for files and forms."""
    return settings_to_dict(config)


def config_from_dict(data: Mapping[str, Any]) -> SearchConfig:
    """The reverse; a missing key takes its default, an unknown one raises ConfigError."""
    return settings_from_dict(SearchConfig, data)


def preset(name: str, mask: Searched = "edges", n_edges: int = 0, *, seed: int = 0) -> SearchConfig:
    """The settings of a preset for a model with that many edges. ConfigError for an unknown name.

    Deep models need other settings than small ones: there, edges near probability one half make every sample a
    different broken model, so noise is scaled down and edges start from their attribution. A step over edges takes
    half as many prompts as one over weights: the mask that is drawn varies more than the prompts do. A circuit small
    enough to be looked at is polished at once, except by the thorough one.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}; allowed: {', '.join(PRESETS)}")
    if name == "paper":
        return _paper(mask, seed)
    deep = n_edges > 50_000
    stretch = {"quick": 0.5, "balanced": 1.0, "thorough": 2.5}[name]
    base = _DEEP if deep else _SMALL
    small_enough = 0.0 if name == "thorough" else base.edges.target_density
    return replace(
        base,
        mask=mask,
        seed=seed,
        batch_size=8 if deep and mask == "edges" else base.batch_size,
        edges=replace(
            base.edges,
            steps=round(base.edges.steps * stretch),
            polish=round(base.edges.polish * stretch),
            target_density=small_enough,
        ),
        weights=replace(base.weights, steps=round(base.weights.steps * stretch)),
    )


_SMALL = SearchConfig(
    batch_size=32,
    edges=EdgeConfig(
        steps=150,
        learning_rate=0.2,
        initial_logit=0.7,
        attribution_span=5.0,
        noise=0.5,
        noise_end=0.1,
        sparsity_start=1.0,
        sparsity_peak=150.0,
        sparsity_end=150.0,
        polish=30,
        completeness=0.3,
        completeness_share=0.25,
    ),
    weights=WeightConfig(
        steps=200,
        learning_rate=0.1,
        initial_logit=3.0,
        temperature=0.3,
        noise=0.3,
        noise_end=0.1,
        sparsity_start=1.0,
        sparsity_peak=100.0,
        sparsity_end=100.0,
        completeness=0.3,
    ),
)

_DEEP = SearchConfig(
    batch_size=16,
    evaluations=14,
    target_accuracy=0.97,
    edges=EdgeConfig(
        steps=200,
        learning_rate=0.3,
        learning_rate_end=0.2,
        initial_logit=0.7,
        attribution_span=5.0,
        noise=0.3,
        noise_end=0.1,
        sparsity_start=1.0,
        sparsity_peak=200.0,
        sparsity_end=200.0,
        rise=0.4,
        target_density=0.03,
        polish=40,
        completeness=0.1,
        completeness_share=0.25,
    ),
    weights=WeightConfig(
        steps=300,
        learning_rate=0.1,
        initial_logit=3.0,
        temperature=0.3,
        noise=0.3,
        noise_end=0.1,
        sparsity_start=1.0,
        sparsity_peak=100.0,
        sparsity_end=100.0,
        completeness=0.1,
    ),
)


def _paper(mask: Searched, seed: int) -> SearchConfig:
    """The reference release's settings (arXiv 2407.03779): 100 edge and 200 weight epochs of 8 batches."""
    shared: dict[str, Any] = {"learning_rate": 0.1, "weight_decay": 0.01, "initial_logit": 1.0, "initial_spread": 0.01}
    return SearchConfig(
        mask=mask,
        seed=seed,
        objective="task",
        batch_size=32,
        evaluations=50,
        patience=0,
        edges=EdgeConfig(
            steps=800,
            temperature=1.0,
            sparsity_start=1.0,
            sparsity_peak=100.0,
            sparsity_end=0.01,
            rise=0.2,
            fall=0.2,
            full_every=1,
            **shared,
        ),
        weights=WeightConfig(
            steps=1600,
            temperature=0.01,
            sparsity_start=1.0,
            sparsity_peak=1000.0,
            sparsity_end=1000.0,
            rise=1.0,
            **shared,
        ),
    )
