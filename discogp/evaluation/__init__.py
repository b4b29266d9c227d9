"""How well a circuit does: figures of one circuit, and of what it becomes when edges are switched off.

In: a model, a `Circuit`, `Prompts`. Out: an `Outcome` of every prompt and its `Metrics`. `measures` says what is asked
of logits; `scorer` runs circuits on a split; `session` answers toggles, `toggling` fast; `minimality` judges each edge.
"""
