"""The faults, each one line that a tired person might have written. `before` stands once in its file.

The first eight went unnoticed when the suite was tried first; they stand here with others of their kind.
"""

from __future__ import annotations

from dataclasses import dataclass

# The tests that mirror a file, the quickest to notice first; longest prefix wins.
_MIRRORS: dict[str, tuple[str, ...]] = {
    "discogp/engine/": ("tests/engine/test_masked_transformer.py", "tests/engine"),
    "discogp/engine/masks.py": ("tests/engine/test_masks.py", "tests/engine/test_masked_transformer.py"),
    "discogp/engine/lanes.py": ("tests/engine/test_lanes.py",),
    "discogp/engine/sparse_plan.py": ("tests/engine/test_sparse_pass.py",),
    "discogp/engine/prefixes.py": ("tests/engine/test_prefixes.py",),
    "discogp/engine/replacement.py": ("tests/engine/test_prefixes.py", "tests/engine/test_masked_transformer.py"),
    "discogp/engine/sparse_pass.py": ("tests/engine/test_sparse_pass.py", "tests/engine/test_masked_transformer.py"),
    "discogp/evaluation/": ("tests/evaluation",),
    "discogp/methods/discogp/": ("tests/methods/discogp",),
    "discogp/methods/discogp/edge_phase.py": ("tests/methods/discogp/test_edge_step.py", "tests/methods/discogp"),
    "discogp/methods/discogp/settings.py": ("tests/methods/discogp/test_settings.py",),
    "discogp/search/": ("tests/search/test_progress.py", "tests/search"),
    "discogp/tasks/": ("tests/tasks",),
    "discogp/circuits/": ("tests/circuits",),
    "discogp/export/": ("tests/export",),
    "discogp/paths.py": ("tests/test_claims.py", "tests/test_paths.py"),
    "discogp/reading.py": ("tests/test_reading.py",),
    "discogp/runs/": ("tests/test_claims.py", "tests/runs/test_store.py", "tests/app/test_broken_runs.py"),
    "discogp/models/": ("tests/models/test_checkpoint_table.py", "tests/models/test_folder_fuzz.py", "tests/models"),
    "discogp/cli/": ("tests/cli/test_hostile.py",),
}


@dataclass(frozen=True)
class Fault:
    """`before` -> `after` in `file`; `why` it would matter; `more` tests to run first, beside those of the file."""

    file: str
    before: str
    after: str
    why: str
    more: tuple[str, ...] = ()

    @property
    def tests(self) -> tuple[str, ...]:
        mirror = max((prefix for prefix in _MIRRORS if self.file.startswith(prefix)), key=len)
        return (*self.more, *(test for test in _MIRRORS[mirror] if test not in self.more))

    def __str__(self) -> str:
        return f"{self.file}: {self.before.strip()} -> {self.after.strip()} ({self.why})"


def _of(room: str, *faults: tuple[str, ...]) -> list[Fault]:
    """(file, before, after, why, more tests …) of one room."""
    return [Fault(f"discogp/{room}/{file}", *rest[:3], more=rest[3:]) for file, *rest in faults]


_DISCOVERY = "tests/test_discovery.py"
_FEW = "tests/engine/test_gathered_pass.py"

ENGINE = _of(
    "engine",
    ("masks.py", "graph.columns] = values.float()", "graph.columns] = values.float().flip(0)", "edges misplaced"),
    ("masks.py", "numpy()[graph.rows, graph.columns]", "numpy()[graph.rows, graph.columns - 1]", "edges misplaced"),
    (
        "masks.py",
        "for name, _, _, t in weight_fields(weights) if name not in masks)",
        "for name, _, _, t in weight_fields(weights) if name in masks)",
        "a density of the wrong weights",
    ),
    (
        "masks.py",
        "for name, mask in masks.items() if name in tensors})",
        'for name, mask in masks.items() if name in tensors and "bias" not in name})',
        "biases escape their masks",
    ),
    ("masks.py", "if shapes.get(name) != mask.shape:", "if name not in shapes:", "masks of another shape broadcast"),
    (
        "masked_transformer.py",
        "device=data.device) < lengths[:, None]",
        "device=data.device) <= lengths[:, None]",
        "padding gets into the means",
        "tests/engine/test_padding.py",
    ),
    ("masked_transformer.py", "return folded.centre(out)", "return out", "replacements that are not centred"),
    ("masked_transformer.py", "or high >= self.config.d_vocab:", "or high > self.config.d_vocab:", "an id too many"),
    (
        "masked_transformer.py",
        "if tokens.shape[1] > self.config.max_positions:",
        "if tokens.shape[1] >= self.config.max_positions:",
        "the longest prompt is refused",
    ),
    (
        "masked_transformer.py",
        "return Replacement(outputs.mean((1, 2), keepdim=True))",
        "return Replacement(outputs.mean(1, keepdim=True))",
        "means of each position",
    ),
    (
        "masked_pass.py",
        "self.places = torch.arange(self.b, device=tokens.device) * self.t + last",
        "self.places = torch.arange(self.b, device=tokens.device) * self.t",
        "the answer is read at the first token",
    ),
    ("masked_pass.py", ".mul_(self.scale.square())", ".mul_(self.scale)", "gradient through a head's norm"),
    (
        "masked_pass.py",
        "back.addcmul_(self.normed, pull, value=-1)",
        "back.addcmul_(self.normed, pull, value=1)",
        "gradient through an MLP's norm",
    ),
    (
        "masked_pass.py",
        "return self.d_mask.mul_(self.wanted)",
        "return self.d_mask",
        "edges that are none get gradients",
    ),
    (
        "masked_pass.py",
        "self.add_replacement(inputs[:, n_heads:], graph.n_sources_of(row))",
        "self.add_replacement(inputs[:, n_heads:], columns.start)",
        "an MLP misses replacements of its layer's heads",
    ),
    ("masked_pass.py", "if index > 0:  #", "if index > 1:  #", "the second layer's readers send no gradients back"),
    (
        "masked_pass.py",
        "if self.workspace.passes != self.ticket:",
        "if self.workspace.passes < self.ticket:",
        "gradients from another pass's buffers",
    ),
    (
        "masked_pass.py",
        "return d_sources.index_add_(0, self.places, at_last)",
        "return d_sources",
        "narrow readers send no gradients back",
    ),
    (
        "masked_pass.py",
        "self.mask = mask.to(self.sources.dtype) * self.valid",
        "self.mask = mask.to(self.sources.dtype)",
        "edges that the graph has not carry something",
    ),
    (
        "gathered_pass.py",
        "weighted_sums(*what, out, add=-1.0)",
        "weighted_sums(*what, out, add=1.0)",
        "complement",
        _FEW,
    ),
    (
        "gathered_pass.py",
        "out.add_(everything) if add else out.copy_(everything)",
        "out.copy_(everything)",
        "a block forgets",
        _FEW,
    ),
    ("gathered_pass.py", "at_block.index_add_(0, self.places, told)", "pass", "narrow readers are not heard", _FEW),
    ("gathered_pass.py", "if index < block[-1]:", "if index < block[-1] - 1:", "a reader of the block unheard", _FEW),
    (
        "gathered_pass.py",
        "at_nodes.copy_(self._everything(rows)[:, None])",
        "at_nodes.zero_()",
        "complement's gradients",
        _FEW,
    ),
    ("gathered_pass.py", "self.stride[chosen] = size", "self.stride[chosen] = 1", "other tokens' readers", _FEW),
    ("gathering.py", "(sizes.cumsum(0) - sizes)", "sizes.cumsum(0)", "each bag its neighbour's", _FEW),
    (
        "gathering.py",
        "total += each.view(len(tokens), -1).sum(0)",
        "total = each.view(len(tokens), -1).sum(0)",
        "the last tokens alone",
        _FEW,
    ),
    ("folded.py", "else centred(layer.o_bias / heads),", "else centred(layer.o_bias),", "a bias once for every head"),
    ("folded.py", "return w - w.mean(-1, keepdim=True)", "return w", "writes that are not centred"),
    ("folded.py", "mlp_out_bias=centred(layer.mlp_out_bias),", "mlp_out_bias=layer.mlp_out_bias,", "not centred"),
    (
        "folded.py",
        "capped(x @ self.source.unembed[:, start : start + width], self.config)",
        "x @ self.source.unembed[:, start : start + width]",
        "uncapped logits",
        "tests/evaluation/test_readout.py",
    ),
    ("folded.py", "return through if bias is None else bias + through", "return through", "biases of queries lost"),
    ("attention.py", "else seen.triu(1 - window)", "else seen.triu(-window)", "windows one token too wide"),
    ("attention.py", "torch.cat([-second, first], dim=-1)", "torch.cat([second, -first], dim=-1)", "rotary backwards"),
    ("attention.py", "scores = how.cap * torch.tanh(scores / how.cap)", "scores = torch.tanh(scores / how.cap)", "cap"),
    (
        "plain.py",
        "before_mlp = x if config.parallel else x + attention",
        "before_mlp = x + attention",
        "parallel blocks in series",
    ),
    ("plain.py", "by_head + layer.o_bias / heads", "by_head + layer.o_bias", "a source's own share of the bias"),
    (
        "replacement.py",
        "more = self.sources[known:n_sources].sum(0)",
        "more = self.sources[known:].sum(0)",
        "replacements of later sources flow into earlier readers",
    ),
    (
        "prefixes.py",
        "rows, rows[np.arange(b), stop])",
        "rows, rows[:, 0])",
        "the answer is read at the first token",
    ),
    (
        "sparse_plan.py",
        "(scores and not rotary and constant.issuperset(reads[scores[1]])):",
        "(scores and constant.issuperset(reads[scores[1]])):",
        "equal keys are told apart by rotary positions",
    ),
    (
        "sparse_plan.py",
        "reads != base.reads[row] or not columns.isdisjoint(reads)",
        "reads != base.reads[row]",
        "what lies downstream of a change stays stale",
    ),
    (
        "sparse_plan.py",
        "column in base.live and (column in plan.late or column not in base.late) for column in group",
        "column in base.live for column in group",
        "a late node's outputs taken for all positions",
    ),
    (
        "sparse_pass.py",
        "parts.append(self._flowing(n_sources, at))",
        "parts.append(self._flowing(self.graph.n_sources, at))",
        "replacements of later sources",
    ),
    (
        "prefixes.py",
        "words = words * (1 + other.max()) + other",
        "words = words",
        "prompts with other counterfactuals taken for the same",
    ),
    (
        "replacement.py",
        "self._sum(known) + more if known else more",
        "more",
        "replacements of the first sources lost",
    ),
    (
        "lanes.py",
        "return [future.result() for future in futures]",
        "return [future.result() for future in reversed(futures)]",
        "results in another order",
    ),
)

_STEP = "tests/methods/discogp/test_edge_step.py"
_BEST = "tests/methods/discogp/test_best.py"
_SAMPLING = "tests/methods/discogp/test_sampling.py"
_MICRO = "tests/methods/discogp/test_micro_batches.py"
_WHOLE_STEPS = "tests/methods/discogp/test_whole_answer_steps.py"
_WEIGHTS = "tests/methods/discogp/test_weight_phase.py"
_DECIDED = "tests/methods/discogp/test_decided.py"
_LEAVING = "tests/methods/discogp/test_leaving_early.py"

METHOD = _of(
    "methods/discogp",
    ("sampling.py", "soft.mul_(1 - soft).div_(temperature))", "soft.mul_(1 - soft))", "slope without τ", _SAMPLING),
    ("sampling.py", ".mul_(noise).add_(logits)", ".add_(logits).mul_(noise)", "noise scales the logits", _SAMPLING),
    ("sampling.py", "hard = (soft > 0.5)", "hard = (soft > 0)", "everything is kept", _SAMPLING),
    ("sampling.py", "soft.clamp_(1e-6, 1 - 1e-6).logit_()", "soft.logit_()", "a draw of 0 gives nan", _SAMPLING),
    (
        "edge_phase.py",
        "gradient * self._slope + sparsity * keep * (1 - keep)",
        "gradient * self._slope + sparsity * keep",
        "gradient of the expected density",
    ),
    (
        "edge_phase.py",
        "self.config.sparsity_at(step) / self.graph.n_edges",
        "self.config.sparsity_at(step) / self.valid.numel()",
        "a weaker λ_s",
    ),
    (
        "edge_phase.py",
        "{name: ~mask for name, mask in kept.items()}",
        "{name: mask for name, mask in kept.items()}",
        "complement of both on the kept weights",
    ),
    (
        "edge_phase.py",
        "_Side(some, self.reversed, replacement",
        "_Side(some, self.kept, replacement",
        "complement of both on the kept weights",
    ),
    (
        "edge_phase.py",
        "replacement = self._replacement(self.reversed, some)",
        "replacement = self._replacement(self.kept, some)",
        "replacements of other weights",
    ),
    ("edge_phase.py", "rows_of(checked.places)", "rows_of(range(len(some)))", "others' replacements", _DECIDED),
    ("edge_phase.py", "total += gradient.abs()", "total += gradient", "harmful edges start as the least sure"),
    ("edge_phase.py", "self.valid - mask,", "mask,", "the circuit in the complement's place"),
    (
        "edge_phase.py",
        "(checked.share * self._completeness_weight * complete).backward()",
        "(self._completeness_weight * complete).backward()",
        "parts of a batch count as whole ones",
        _MICRO,
    ),
    (
        "edge_phase.py",
        "(checked.share * self._completeness_weight * complete).backward()",
        "(checked.share * complete).backward()",
        "no λ_c",
    ),
    ("edge_phase.py", "np.linspace(0, 1, len(scores))", "np.linspace(1, 0, len(scores))", "edges ranked upside down"),
    ("edge_phase.py", "edge_matrix(self.graph, ranks**3,", "edge_matrix(self.graph, ranks,", "r instead of r³"),
    ("edge_phase.py", "(gradient * self._slope +", "(gradient +", "no slope"),
    (
        "edge_phase.py",
        "keep * (1 - keep)) * self._open",
        "keep * (1 - keep)) * self.valid",
        "moments of decided",
        _DECIDED,
    ),
    ("edge_phase.py", "self._mask = drawn.hard * self._open", "self._mask = drawn.hard * self.valid", "on", _DECIDED),
    ("edge_phase.py", "self._wanted = None if full else self._open > 0", "self._wanted = None", "all wanted", _DECIDED),
    ("edge_phase.py", "(logits >= self.config.decided_below)", "(logits >= 0)", "undecided edges left alone", _DECIDED),
    ("edge_phase.py", "self._open < self.valid, before", "self._open > self.valid, before", "momentum", _DECIDED),
    (
        "edge_phase.py",
        "some = checked.of(kept.batch)",
        "some = kept.batch",
        "the whole batch is checked",
        _DECIDED,
    ),
    (
        "phase.py",
        "tuple(i * size // n for i in range(n))",
        "tuple(range(n))",
        "only the first prompts are checked",
        _DECIDED,
    ),
    ("phase.py", "tuple(i - places[0] for i in self.places", "tuple(i for i in self.places", "others", _DECIDED),
    ("phase.py", "self.share * len(chosen) / max(1, len(self.places))", "self.share", "parts count as whole", _DECIDED),
    (
        "search.py",
        'for one in self.history if one["phase"] == phase.name]',
        "for one in self.history]",
        "weights' evaluations count for edges",
        _LEAVING,
    ),
    ("search.py", "since + risen", "since + 1", "leaves while λ_s rises", _LEAVING),
    ("search.py", "density * math.exp(", "density + 0 * math.exp(", "the KL of a circuit does not count", _BEST),
    (
        "search.py",
        "evaluation.circuit.kl < _LARGEST_KL else",
        "True else",
        "what is no number is the best",
        _BEST,
    ),
    (
        "search.py",
        "0 < self.config.patience <= since",
        "0 < self.config.patience < since",
        "one evaluation more",
        _LEAVING,
    ),
    (
        "search.py",
        "<= phase.config.target_density > 0",
        ">= phase.config.target_density > 0",
        "leaves while large",
        _LEAVING,
    ),
    ("search.py", 'if one["meets_targets"] and one["density"]', 'if one["density"]', "leaves on a failure", _LEAVING),
    ("search.py", "return met and 0 <", "return 0 <", "leaves on a circuit that fails", _LEAVING),
    ("search.py", "smallest * _SMALLER", "smallest", "waits for every edge", _LEAVING),
    (
        "search.py",
        "return phase.config.all_steps - step + sum(",
        "return phase.config.all_steps - step - 1 + sum(",
        "one step too few",
        _LEAVING,
    ),
    ("search.py", "return phase.config.steps", "return step + 1", "never polished", _LEAVING),
    ("search.py", "if evaluated and not phase.config.polishes(step) and", "if evaluated and", "for ever", _LEAVING),
    ("search.py", '"step": step, "done"', '"step": step - 1, "done"', "a step is taken twice", _LEAVING),
    ("edge_phase.py", "self.graph.reaching_logits(logits > 0)", "logits > 0", "dead edges count", _DISCOVERY),
    (
        "edge_phase.py",
        "self.config.noise_at(step), self.generator)",
        "self.config.noise, self.generator)",
        "no schedule",
    ),
    (
        "edge_phase.py",
        "self._completeness_weight = self.config.completeness_at(step)",
        "self._completeness_weight = self.config.completeness",
        "λ_c from the first step on",
    ),
    (
        "phase.py",
        "batch.rows_of(places)",
        "list(places)",
        "the full model's answers to other rows",
        _WHOLE_STEPS,
    ),
    (
        "losses.py",
        "along_right_answers(kl_divergence(full_log_probs, logits), batch).mean()",
        "kl_divergence(full_log_probs, logits).mean()",
        "KL of rows, not of prompts",
        _WHOLE_STEPS,
    ),
    (
        "estimate.py",
        "rows = data.train.most_rows(micro_batch)",
        "rows = micro_batch",
        "memory of fewer rows than there are",
        _WHOLE_STEPS,
    ),
    ("losses.py", "- 0.5 * (right + other)).mean()", "- right).mean()", "the complement is taught the task", _STEP),
    ("losses.py", 'if objective in ("kl", "both"):', 'if objective in ("kl",):', "half of the objective", _STEP),
    ("losses.py", "return (everything - right).mean()", "return (everything - right).sum()", "sum, not mean", _STEP),
    (
        "phase.py",
        "share, mine = len(part) / total,",
        "share, mine = len(part) / len(batch),",
        "processes count double",
        _MICRO,
    ),
    ("phase.py", "weight_decay=config.weight_decay", "weight_decay=0.0", "a setting without effect", _STEP),
    ("phase.py", "lr=config.learning_rate", "lr=0.1", "a setting without effect", _STEP),
    ("settings.py", "{round(pace * (i + 1)) for", "{round(pace * i) for", "the end of the schedule is never scored"),
    ("settings.py", " | {self.all_steps}", "", "the end of the polish is never scored"),
    ("settings.py", "return self.polish_sparsity", "return self.sparsity_peak", "polished as hard as pruned"),
    ("settings.py", "return self.polish_noise", "return self.noise_end", "polished with noise"),
    ("settings.py", "(self.noise_end - self.noise) * step", "(self.noise_end - self.noise) * (step + 1)", "one ahead"),
    ("settings.py", "* (done - self.rise) / self.fall", "* done / self.fall", "a jump where the fall begins"),
    (
        "settings.py",
        "if step >= self.completeness_from * self.steps",
        "if step > self.completeness_from * self.steps",
        "one step late",
    ),
    (
        "settings.py",
        "return self.sparsity_end if self.fall else self.sparsity_peak",
        "return self.sparsity_end",
        "a jump after a rise without a fall",
    ),
    (
        "search.py",
        "rank = (_shortfall(evaluation, search), size",
        "rank = (0.0, size",
        "the sparsest, however bad",
        _BEST,
    ),
    ("search.py", "search), size, kl)", "search), size, 0.0)", "ties", _BEST),
    (
        "search.py",
        "needed = search.target_accuracy * evaluation.full.accuracy",
        "needed = search.target_accuracy",
        "more than the model can",
        _BEST,
    ),
    (
        "search.py",
        "max(0.0, evaluation.complement.accuracy - search.target_complement)",
        "max(0.0, search.target_complement - evaluation.complement.accuracy)",
        "complete circuits fall short",
        _BEST,
    ),
    ("search.py", "or rank < self.rank:", "or rank <= self.rank:", "the last of equals", _BEST),
    (
        "search.py",
        "weight_masks = best.thresholded.weight_masks",
        "weight_masks = last.weight_masks",
        "edges on the last weights, not on the best",
        _BEST,
    ),
    (
        "search.py",
        'density = circuit.edge_density if phase.name == "edges" else circuit.weight_density',
        'density = circuit.edge_density if phase.name == "edges" else 1.0',
        "weights chosen without density",
        _BEST,
    ),
    (
        "search.py",
        "torch.randperm(self.n, generator=self.shuffler).tolist(), 0",
        "list(range(self.n)), 0",
        "no shuffling",
        _BEST,
    ),
    (
        "search.py",
        "if self.next + self.size > len(self.order):",
        "if self.next + self.size >= len(self.order):",
        "the last batch of each pass is left out",
        _BEST,
    ),
    (
        "search.py",
        "phase.config.evaluated_at(self.config.evaluations)",
        "phase.config.evaluated_at(1)",
        "scored at the end alone",
        _DISCOVERY,
    ),
    (
        "search.py",
        "phase.step(some, known, step, self.processes.add_up,",
        "phase.step(some, known, 0, self.processes.add_up,",
        "schedules stand",
        _BEST,
    ),
    (
        "weight_phase.py",
        "(-checked.share * self._completeness * complete).backward()",
        "(checked.share * self._completeness * complete).backward()",
        "sign of the complement",
        _WEIGHTS,
    ),
    (
        "weight_phase.py",
        "gradient.add_(change, alpha=sparsity)",
        "gradient.add_(keep, alpha=sparsity)",
        "sparsity",
        _WEIGHTS,
    ),
    ("weight_phase.py", "torch.gt(relaxed, 0, out=", "torch.gt(relaxed, 0.5, out=", "threshold", _WEIGHTS),
    (
        "weight_units.py",
        "sizes[one.places] += one.weight.numel() / math.prod(one.units)",
        "sizes[one.places] += 1",
        "sizes of units",
        _WEIGHTS,
    ),
    (
        "draws.py",
        "np.random.SeedSequence([self.seed, step, index])",
        "np.random.SeedSequence([self.seed, step])",
        "every block draws the same",
        _WEIGHTS,
    ),
)

SEARCH = _of(
    "search",
    (
        "checkpoint.py",
        'if not older and data.get("sha256") !=',
        'if not older and not data.get("sha256") or None ==',
        "damage",
    ),
    (
        "checkpoint.py",
        "with replaced_file(self.path, sync=True) as temporary, temporary.open",
        "with replaced_file(self.path.with_name('other'), sync=True) as temporary, temporary.open",
        "saved under another name",
    ),
    (
        "identity.py",
        '_FREE = ("checkpoint_every",)',
        '_FREE = ("checkpoint_every", "seed")',
        "another seed's checkpoint",
    ),
    ("identity.py", 'for name in ("train", "validation")}', 'for name in ("validation",)}', "other training prompts"),
    (
        "distributed.py",
        "bounds = [len(items) * i // self.size for",
        "bounds = [len(items) // self.size * i for",
        "prompts are lost",
        "tests/search/test_distributed.py::test_parts_are_the_batch",
    ),
    ("progress.py", "pace * (self.total - done)", "pace * self.total", "time left"),
    ("progress.py", "max(done - self.phase_first, 1)", "max(done, 1)", "pace of the phase before"),
)

_READOUT = "tests/evaluation/test_readout.py"
_IDLE = "tests/evaluation/test_idle_edges.py"
_COMPLEMENT = "tests/evaluation/test_complement.py"
_MEASURES = "tests/evaluation/test_measures.py"
_WHOLE = "tests/evaluation/test_whole_answers.py"
_REFINE = "tests/evaluation/test_refining.py"

EVALUATION = _of(
    "evaluation",
    (
        "readout.py",
        "torch.where(highest > top, place + start, top_token)",
        "torch.where(highest > top, place, top_token)",
        "top tokens of later blocks",
        _READOUT,
    ),
    (
        "readout.py",
        "inside = (ids >= start) & (ids < stop)",
        "inside = ids < stop",
        "candidates of earlier blocks",
        _READOUT,
    ),
    ("readout.py", "top = torch.maximum(top, highest)", "top = highest", "the last block's top token", _READOUT),
    ("readout.py", ".exp_().sum(1).log() + highest)", ".exp_().sum(1).log())", "a wrong sum of exponentials", _READOUT),
    (
        "readout.py",
        "log_p = log_references[:, :, start:stop]",
        "log_p = log_references[:, :, : stop - start]",
        "KL with the first block's tokens",
        _READOUT,
    ),
    (
        "toggling.py",
        "(reading.top_token != before.top_token) | (reading.correct != before.correct)",
        "reading.top_token != before.top_token",
        "a verdict that flips is no change",
        _IDLE,
    ),
    (
        "toggling.py",
        "(reading.top_token != before.top_token) | (reading.correct != before.correct)",
        "reading.correct != before.correct",
        "another top token is no change",
        _IDLE,
    ),
    (
        "toggling.py",
        "folded.unembed(base.final).log_softmax(-1))",
        "self.scorer.full_log_probs[index])",
        "change measured from the model",
        "tests/evaluation/test_toggling.py",
    ),
    (
        "toggling.py",
        "parts[place] = tuple(",
        "parts[i] = tuple(",
        "effects at other edges",
        "tests/evaluation/test_toggling.py",
    ),
    (
        "minimality.py",
        "return self.change < IDLE_KL and not self.changed",
        "return self.change < IDLE_KL",
        "an edge that changes a verdict is idle",
        _IDLE,
    ),
    (
        "minimality.py",
        "return self.change < IDLE_KL and not self.changed",
        "return not self.changed",
        "an edge that changes probabilities is idle",
        _IDLE,
    ),
    ("uncertainty.py", "math.sqrt(1 - n / population)", "1.0", "as if of endlessly many", _REFINE),
    (
        "uncertainty.py",
        "share * (1 - share) / n + more / (4 * n)",
        "share * (1 - share) / n",
        "no doubt of 32 of 32",
        _REFINE,
    ),
    ("uncertainty.py", "last - (count - 1) / 2", "last", "ties at their last rank", _REFINE),
    (
        "toggling.py",
        "self.scorer.read(index, logits)",
        "self.scorer.read(0, logits)",
        "answers of the first batch",
        _REFINE,
    ),
    ("session.py", "if cancelled():", "if False:", "work that cannot be ended", _REFINE),
    ("session.py", "_ = self._circuit_parts[index], self._scorer.full_parts[index]", "pass", "waits", _REFINE),
    ("known.py", "n -= size", "n -= 1", "more prompts than were asked for", "tests/evaluation/test_known.py"),
    ("known.py", "if index not in self._made:", "if True:", "made anew", "tests/evaluation/test_known.py"),
    ("scorer.py", "alone._replacements, alone._runners = {}, {}", "alone._replacements = {}", "others' runs"),
    (
        "scorer.py",
        "range(first), range(first, len(prompts))",
        "range(first), range(len(prompts))",
        "the first twice",
        _REFINE,
    ),
    ("minimality.py", "key=lambda effect: -effect.change", "key=lambda effect: effect.change", "least first", _IDLE),
    (
        "minimality.py",
        "getattr(metrics, k) - getattr(whole, k)",
        "getattr(whole, k) - getattr(metrics, k)",
        "sign",
        _IDLE,
    ),
    (
        "minimality.py",
        "return 1 - self.n_idle / len(self.effects)",
        "return self.n_idle / len(self.effects)",
        "reverse",
        _IDLE,
    ),
    (
        "scorer.py",
        "return self.scorer(complement).outcome(complement.edge_mask)",
        "return self.scorer(circuit).outcome(complement.edge_mask)",
        "complement of both on the kept weights",
        _COMPLEMENT,
    ),
    ("scorer.py", "n = int(batch.lengths.sum())", "n = len(batch)", "means of batches, not of tokens", _MEASURES),
    (
        "measures.py",
        "(top_token[..., None] == correct).any(-1)",
        "(top_token[..., None] == correct).all(-1)",
        "several answers",
        _MEASURES,
    ),
    ("measures.py", ".amax(1) > candidate_logits", ".amax(1) >= candidate_logits", "ties count as right", _MEASURES),
    ("measures.py", ".sum(1) / given.sum(1)", ".sum(1) / given.shape[1]", "padding among the answers", _MEASURES),
    (
        "measures.py",
        'masked_fill(ids < 0, float("-inf"))',
        "masked_fill(ids < 0, 0.0)",
        "padding as an answer",
        _MEASURES,
    ),
    (
        "candidates.py",
        "- logits.logsumexp(1, keepdim=True)",
        "- logits.amax(1, keepdim=True)",
        "logits added up in log-probabilities' place",
        _WHOLE,
    ),
    ("candidates.py", "said.masked_fill(steps.ids < 0, 0)", "said", "tokens of rows on other ways count", _WHOLE),
    ("candidates.py", "return sums / (prompts.correct >= 0).sum(1)", "return sums", "KL by answers", _WHOLE),
    (
        "candidates.py",
        "missed = (wanted >= 0) & (wanted != top_token[..., None])",
        "missed = wanted != top_token[..., None]",
        "a right answer must say what others say",
        _WHOLE,
    ),
    (
        "candidates.py",
        "(prompts.steps.ids[:, : prompts.correct.shape[1]] >= 0).to(of_rows.dtype)",
        "(prompts.steps.ids >= 0).to(of_rows.dtype)",
        "KL along wrong answers",
        _WHOLE,
    ),
    ("scorer.py", "top[: len(batch)],", "top[-len(batch) :],", "the likeliest token of other rows", _WHOLE),
    (
        "scorer.py",
        "for batch in (batch.asked for batch in batches):",
        "for batch in batches:",
        "means that weigh prompts by their answers",
        _WHOLE,
    ),
    (
        "toggling.py",
        "changed |= reading.top_is_right != before.top_is_right",
        "changed |= reading.correct != before.correct",
        "another token later in an answer is no change",
        _WHOLE,
    ),
    (
        "readout.py",
        "answer_scores((said - total[:, None]).view(k, r, -1), steps)",
        "answer_scores(said.view(k, r, -1), steps)",
        "logits in log-probabilities' place",
        _WHOLE,
    ),
    ("outcome.py", "top1=float(self.top_is_right.mean())", "top1=float(self.correct.mean())", "figures swapped", _IDLE),
    (
        "positions.py",
        "kl_divergence(*log_probs)",
        "kl_divergence(*log_probs[::-1])",
        "KL the other way",
        "tests/evaluation/test_positions.py",
    ),
)

_ENCODING = "tests/tasks/test_encoding.py"
_ENCODED = "tests/tasks/test_encoded.py"
_GENERATORS = "tests/tasks/test_generators.py"
_CUSTOM = "tests/tasks/test_custom.py"
_FORMS = "tests/tasks/test_forms.py"

TASKS = _of(
    "tasks",
    (
        "encoded.py",
        "found.setdefault(tuple(answer[:step])",
        "found.setdefault(tuple(answer[: step + 1])",
        "a token read where it has been said",
        _ENCODED,
    ),
    (
        "encoded.py",
        "None if other is None else [*other, *start]",
        "None if other is None else [*row.prompt, *start]",
        "a prompt as its own counterfactual",
        _ENCODED,
    ),
    ("encoded.py", "rows + 1 + more > size", "rows + 1 > size", "batches beyond the memory", _ENCODED),
    (
        "encoded.py",
        "self.lengths[: len(self)]",
        "self.lengths[-len(self) :]",
        "prompts cut by the lengths of other rows",
        _ENCODED,
    ),
    (
        "counterfactuals.py",
        "tokens[prompts.rows_of([row]), :length]",
        "tokens[[row], :length]",
        "an answer's beginning behind the prompt itself",
        _ENCODED,
    ),
    (
        "encoded.py",
        "width = int(lengths.max()) if chosen else 0",
        "width = int(lengths[0]) if chosen else 0",
        "prompts cut off",
        _ENCODING,
    ),
    (
        "encoding.py",
        "if whole[: len(start)] != start or not found:",
        "if not found:",
        "an answer that changes the prompt's tokens",
        _ENCODING,
    ),
    (
        "encoding.py",
        "if set(map(tuple, correct)) & set(map(tuple, wrong)):",
        "if set(map(tuple, correct)) == set(map(tuple, wrong)):",
        "right and wrong at once",
        _ENCODING,
    ),
    ("encoding.py", "if len(found) != length:", "if len(found) < length:", "counterfactuals too long", _ENCODING),
    (
        "encoding.py",
        "if vocabulary.unknown in good[:shared]:",
        "if vocabulary.unknown in good[: shared - 1]:",
        "an unknown word at the end",
        _ENCODING,
    ),
    ("encoding.py", "if end and ids[-len(end) :] == end:", "if end:", "another context than the prompt's", _ENCODING),
    (
        "encoded.py",
        "correct=_pad([right for right, _ in answers], -1),",
        "correct=_pad([right for right, _ in answers], 0),",
        "padding as an answer",
        _ENCODING,
    ),
    (
        "counterfactuals.py",
        "_any_shared(wrong, right) & ~_any_shared(right, right)",
        "_any_shared(wrong, right)",
        "a counterfactual with the same answer",
        "tests/tasks/test_counterfactuals.py",
    ),
    (
        "counterfactuals.py",
        "common.argmax()",
        "common.argmin()",
        "the least alike",
        "tests/tasks/test_counterfactuals.py",
    ),
    (
        "generated/sampling.py",
        "share = (size + len(groups) - 1 - place) // len(groups)",
        "share = size // len(groups)",
        "fewer prompts than asked for",
        "tests/tasks/test_tasks.py",
    ),
    (
        "generated/sampling.py",
        'random.Random(f"{task}/{split}/{seed}")',
        'random.Random(f"{task}/{split}")',
        "every seed the same",
        "tests/tasks/test_tasks.py",
    ),
    (
        "generated/induction.py",
        "if word not in sequence and split_of(sequence[-1], word) == split:",
        "if word not in sequence:",
        "neighbours in two splits",
        _GENERATORS,
    ),
    ("generated/greater_than.py", "if end > own),", "if end >= own),", "the year itself is later", _GENERATORS),
    (
        "generated/greater_than.py",
        '"units": 1 <= year % 10 <= 8,',
        '"units": 0 <= year % 10 <= 8,',
        "nothing is less",
        _GENERATORS,
    ),
    (
        "generated/ioi.py",
        "if (i + j) % 6 in colours",
        "if (i + j) % 6 in (0, 4, 5)",
        "places and objects in two splits",
        "tests/tasks/test_tasks.py",
    ),
    (
        "generated/ioi.py",
        'if order == "ABBA" else (subject, io)',
        'if order != "ABBA" else (subject, io)',
        "order",
        "tests/tasks/test_tasks.py",
    ),
    (
        "generated/ioi.py",
        "a, b, c = (x, y, io)",
        "a, b, c = (x, y, subject)",
        "a counterfactual that is the prompt",
        "tests/tasks/test_tasks.py",
    ),
    (
        "generated/agreement.py",
        "counterfactual=sentences[1 - condition],",
        "counterfactual=sentences[condition],",
        "a counterfactual that is the prompt",
        "tests/tasks/test_tasks.py",
    ),
    (
        "encoding.py",
        "return [answer.number]",
        "return [answer.number + 1]",
        "another token than the file's",
        _ENCODING,
    ),
    (
        "from_files/pool.py",
        "key=lambda name: len(pools[name]) / wanted[name])",
        "key=lambda name: len(pools[name]))",
        "splits out of proportion",
        "tests/tasks/test_blimp.py",
    ),
    (
        "spacing.py",
        'goes_on = first == "N" and unicodedata',
        "goes_on = unicodedata",
        "no space after a number's full stop",
        "tests/tasks/test_spacing.py",
    ),
    (
        "spacing.py",
        "return closed and last not in _OPEN and not goes_on",
        "return closed and not goes_on",
        "a space after an apostrophe",
        "tests/tasks/test_spacing.py",
    ),
    (
        "opening.py",
        "return [] if ids and ids[0] in own else [bos_id]",
        "return [bos_id]",
        "two opening tokens",
        "tests/tasks/test_opening.py",
    ),
    (
        "from_files/rows.py",
        "if both := set(correct) & set(wrong):",
        "if both := set(correct) - set(correct):",
        "contradictions",
        _CUSTOM,
    ),
    (
        "from_files/blimp.py",
        'paired=method == "*",',
        'paired=method != "*",',
        "pairs where the prompt decides nothing",
        "tests/tasks/test_blimp.py",
    ),
    (
        "from_files/pararel.py",
        "if -1 < pattern.find",
        "if 0 < pattern.find",
        "patterns that begin with the subject",
        "tests/tasks/test_pararel.py",
    ),
    (
        "from_files/lines.py",
        "self.dropped[reason] += 1",
        "self.dropped[reason] = 1",
        "lost rows uncounted",
        _CUSTOM,
    ),
    (
        "from_files/lines.py",
        "if len(made) == len(pairs):",
        "if made:",
        "of a doubled key, the last one asked",
        _FORMS,
    ),
    (
        "from_files/facts.py",
        "for other in objects if other not in right)",
        "for other in objects if other != right[0])",
        "right answers that count as wrong",
        "tests/tasks/test_lre.py",
    ),
    (
        "from_files/lre.py",
        "known[object_] = None",
        "known.clear() or known.update({object_: None})",
        "one of several right answers",
        "tests/tasks/test_lre.py",
    ),
    (
        "from_files/forms/eap_ig.py",
        "range(year + 1, _LAST_YEAR + 1)]",
        "range(year, _LAST_YEAR)]",
        "the year itself counted as later",
        _FORMS,
    ),
    (
        "from_files/forms/eap_ig.py",
        'for column in ("correct_idx", "incorrect_idx"))',
        'for column in ("incorrect_idx", "correct_idx"))',
        "right and wrong answers exchanged",
        _FORMS,
    ),
    (
        "from_files/forms/mib.py",
        "if answer != right:",
        "if answer:",
        "a counterfactual with the same answer",
        _FORMS,
    ),
    (
        "from_files/forms/mib.py",
        "enumerate(texts) if place != key]",
        "enumerate(texts) if place > key]",
        "choices left out",
        _FORMS,
    ),
    (
        "from_files/forms/table.py",
        'used = 1 if "unexpected end" in fields else',
        'used = 9 if "unexpected end" in fields else',
        "rows lost after a quotation mark",
        _FORMS,
    ),
    (
        "from_files/forms/json_table.py",
        "return bisect_right(self._ends, place) + 1",
        "return bisect_right(self._ends, place)",
        "faults named by the wrong line",
        _FORMS,
    ),
    (
        "from_files/forms/reading.py",
        "if len(fitting) > 1:",
        "if len(fitting) > 2:",
        "one of two meanings chosen unsaid",
        _FORMS,
    ),
    (
        "from_files/lines.py",
        '.replace(b"\\r\\n", b"\\n")',
        '.replace(b"\\r\\n", b"\\r")',
        "Windows files",
        "tests/tasks/test_blimp.py",
    ),
)

_GRAPH = "tests/circuits/test_graph.py"
_ARTIFACT = "tests/circuits/test_artifact.py"
_CHECKSUMS = "tests/circuits/test_checksums.py"
_SPARSITY = "tests/circuits/test_sparsity.py"
_FOREIGN = "tests/circuits/test_foreign.py"

CIRCUITS = _of(
    "circuits",
    (
        "graph.py",
        "if place == 3 * self.n_heads and not self.parallel else 0",
        "if place == 3 * self.n_heads else 0",
        "edges that a parallel model has not",
        _GRAPH,
    ),
    (
        "graph.py",
        "if column >= self.prefix_lengths[row]:",
        "if column > self.prefix_lengths[row]:",
        "an edge from a node to itself",
        _GRAPH,
    ),
    ("graph.py", "return kept & alive[writers[self.target_nodes]]", "return kept", "dead edges count", _GRAPH),
    ("graph.py", 'np.argsort(-targets, kind="stable")', 'np.argsort(targets, kind="stable")', "paths are lost", _GRAPH),
    (
        "graph.py",
        "(self.source_nodes == place) | (self.target_nodes == place)",
        "self.source_nodes == place",
        "a node that is off still reads",
        _GRAPH,
    ),
    (
        "graph.py",
        "tuple(range(start + head, start + 3 * self.n_heads, self.n_heads))",
        "tuple(range(start + head, start + head + 3))",
        "a head's own readers",
        _GRAPH,
    ),
    ("graph.py", "heads = self.head_columns(max(layer, 0))", "heads = self.head_columns(0)", "joint heads", _GRAPH),
    (
        "circuit.py",
        'if weights is not None and self.searched != "edges":',
        "if weights is not None:",
        "weights that were not searched are turned round",
        _GRAPH,
    ),
    (
        "circuit.py",
        "edges = self.edge_mask if self.searched",
        "edges = ~self.edge_mask if self.searched",
        "complement",
        _GRAPH,
    ),
    (
        "circuit.py",
        "is None else -self.edge_scores",
        "is None else self.edge_scores",
        "scores of the complement",
        _GRAPH,
    ),
    ("circuit.py", "np.argsort(-self.importance[kept]", "np.argsort(self.importance[kept]", "weakest first", _GRAPH),
    ("circuit.py", "return np.abs(self.edge_scores)", "return self.edge_scores", "negative ones rank last", _FOREIGN),
    (
        "foreign/mib.py",
        "mask[index] = _flag(entry, name, source)",
        "mask[index] = _flag(entry, name, source) or True",
        "every edge of a MIB file is kept",
        _FOREIGN,
    ),
    (
        "foreign/names.py",
        'source, reader = (first, second) if first.role == "source" else (second, first)',
        "source, reader = first, second",
        "ACDC's edges turned round",
        _FOREIGN,
    ),
    (
        "foreign/reading.py",
        "if graph is None or circuit.graph == graph:",
        "if graph is None or circuit.graph != graph:",
        "a circuit of another model",
        _FOREIGN,
    ),
    (
        "foreign/edge_lists.py",
        "scores = np.full(graph.n_edges, min(0.0,",
        "scores = np.full(graph.n_edges, max(0.0,",
        "edges that are not listed rank first",
        _FOREIGN,
    ),
    (
        "circuit.py",
        "return (kept + self.unmasked_weights) / max(",
        "return kept / max(",
        "a density too low",
        _SPARSITY,
    ),
    (
        "circuit.py",
        "copy = np.array(array, dtype=dtype)",
        "copy = np.asarray(array, dtype=dtype)",
        "circuits that change with the caller's array",
        _GRAPH,
    ),
    (
        "document.py",
        "min(0.0, *given.values())",
        "max(0.0, *given.values())",
        "edges that are not kept rank first",
        _ARTIFACT,
    ),
    (
        "document.py",
        '"searched": "edges", "provenance": noted}',
        '"provenance": noted}',
        "masks that are not there",
        _ARTIFACT,
    ),
    ("document.py", "return value if math.isfinite(value) else None", "return value", "JSON with NaN", _ARTIFACT),
    ("document.py", "if said is not None and abs(said", "if said is None and abs(said", "densities", _CHECKSUMS),
    ("artifact.py", "if sorted(stored) == sorted(counted):", "if stored:", "damaged masks open", _CHECKSUMS),
    (
        "artifact.py",
        "return np.unpackbits(bits, count=size)",
        'return np.unpackbits(bits, count=size, bitorder="little")',
        "bits in another order",
        _ARTIFACT,
    ),
    (
        "artifact.py",
        "foreign = sorted(present - set(FILES))",
        "foreign = sorted(present - present)",
        "strangers' files are replaced",
        _ARTIFACT,
    ),
    (
        "artifact.py",
        "or scores.dtype != np.float32:",
        "or scores.dtype == np.int8:",
        "scores of another type",
        _ARTIFACT,
    ),
    ("sparsity.py", 'or component == "out.bias":', "or False:", "a bias counts as a neuron's", _SPARSITY),
    (
        "sparsity.py",
        "Count(self.kept + other.kept, self.total + other.total)",
        "Count(self.kept + other.kept, other.total)",
        "shares of a layer",
        _SPARSITY,
    ),
)

_FIGURES = "tests/export/test_figures.py"

EXPORT = _of(
    "export",
    (
        "facts.py",
        '"edited": measured.edited if measured else None,',
        '"edited": whole.get("circuit"),',
        "the original's figures beneath an edited picture",
        _FIGURES,
    ),
    (
        "base.py",
        'made.pop("metrics", None)',
        'made.get("metrics", None)',
        "the original's figures in the data of an edit",
        _FIGURES,
    ),
    ("facts.py", 'options += ["--score"] if scored else []', "options += []", "another export than this one", _FIGURES),
)

SAFETY: list[Fault] = [
    *(
        Fault(f"discogp/{file}", *rest)
        for file, *rest in (
            ("reading.py", "if len(found) != len(pairs):", "if len(found) > len(pairs):", "a name twice"),
            ("reading.py", "if _deeper_than(DEEPEST, value):", "if _deeper_than(900, value):", "crashes later on"),
            ("reading.py", "if len(digits) > _MOST_DIGITS:", "if len(digits) > 4000:", "no float holds it"),
            ("reading.py", "if not stat.S_ISREG(mode):", "if stat.S_ISDIR(mode):", "a pipe is waited for"),
            ("reading.py", "sort_keys=True, separators", "separators", "order breaks a seal"),
            ("paths.py", "lock.acquire(timeout=0)", "lock.acquire(timeout=5)", "a second search waits"),
            ("paths.py", "file.unlink()  # while", "lock.release()  # while", "locks are left"),
            ("paths.py", "if free < _LEAST_FREE:", "if free < 0:", "a full disk"),
            ("runs/places.py", "check_replaceable(folder)", "folder.name", "told after the search"),
            ("runs/store.py", 'file.write(b"\\n")', "pass", "a killed process takes the next line along"),
            ("runs/records.py", "if datetime.fromisoformat(text).tzinfo is None:", "if not text:", "no zone"),
            ("runs/records.py", "Field(ge=2, lt=2**31)", "Field(lt=2**31)", "a signal to the server itself"),
        )
    )
]

MODELS = _of(
    "models",
    (
        "leftovers.py",
        "allowed.append(causal.triu(1 - window))",
        "allowed.append(causal.triu(-window))",
        "a wider window passes",
    ),
    ("leftovers.py", "any(torch.equal(seen != 0, mask) for mask in allowed)", "True", "any mask passes"),
    ("leftovers.py", "bool(tensor.float() <= _MASKED)", "True", "a score that hides nothing passes"),
    ("leftovers.py", "return bool(layers) and all(", "return True or all(", "other frequencies pass"),
    (
        "leftovers.py",
        "return weights.layers[index : index + 1]",
        "return weights.layers[:1]",
        "a layer's mask is the first's",
    ),
    (
        "loading.py",
        "if not torch.equal(head, embedding):",
        "if head.shape != embedding.shape:",
        "a head that is not the embedding",
    ),
    (
        "loading.py",
        "key_mapping=WRAPPER_MAPPING if stored.wrapped else None,",
        "key_mapping=None,",
        "wrapped names stay",
    ),
    ("loading.py", "return None, (*notes, f", "return bos_id, (*notes, f", "an opening token the model does not have"),
    ("stored.py", "if sizes > 2 * file.stat().st_size:", "if sizes < 0:", "a view of a number fills the memory"),
    ("stored.py", "entry.compress_type != zipfile.ZIP_STORED", "entry.compress_type < 0", "a zip bomb"),
    ("bounds.py", "if masks > _MAX_BUFFER_BYTES:", "if masks < 0:", "masks of a terabyte"),
    (
        "bounds.py",
        "if tensor.dtype not in _FLOATS and not is_leftover(name):",
        "if tensor.dtype is None:",
        "integers as weights",
    ),
    ("claims.py", "if repeated > MAX_LAYERS:", "if repeated < 0:", "a list without end"),
)
CLI = _of(
    "cli",
    ("arguments.py", "abs(value) > _LARGEST", "abs(value) < 0", "a seed of 23 digits"),
    ("arguments.py", "if not math.isfinite(value):", "if value is None:", "a limit that is no number"),
    ("output.py", "_give_up(sys.stdout)", "pass", "the interpreter fails at its end"),
    ("output.py", "stream.reconfigure(errors=_PLAINLY)", "pass", "ASCII only"),
)

FAULTS: tuple[Fault, ...] = (
    *ENGINE,
    *METHOD,
    *SEARCH,
    *EVALUATION,
    *TASKS,
    *CIRCUITS,
    *EXPORT,
    *SAFETY,
    *MODELS,
    *CLI,
)
