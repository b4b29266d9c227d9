"""Measures beyond the four that every outcome has, one file each.

In: logits, prompts and the full model's log-probabilities of a batch. Out: one number a prompt. A file registers its
measure with `discogp.circuits.measures.register`; nothing else needs to know of it.
"""
