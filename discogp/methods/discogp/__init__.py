"""DiscoGP: differentiable masks on edges and weights (arXiv 2407.03779).

In: a model, `TaskData`, a `SearchConfig`. `search` runs the phases (`weight_phase`, then `edge_phase`) and keeps the
best candidate; a phase draws masks (`sampling`), runs the engine, takes the losses (`losses`) and moves the logits.
"""
