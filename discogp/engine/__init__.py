"""The forward passes: what a model does with some of its edges or weights off.

In: `ModelWeights` of a checkpoint, tokens, masks. Out: logits, and gradients with respect to the masks. `plain` is the
model as it is; `folded` makes weights ready for edge masks; `masked_pass` is dense and differentiable, `sparse_pass`
computes only what reaches the logits. `masked_transformer` is the face of all of them. Parameters are never written to.
"""
