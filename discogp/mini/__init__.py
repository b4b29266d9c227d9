"""The embedded model: the text it is trained on, its training, the check for leaks, and its card.

In: the tasks' own training prompts and a seed. Out: the folder `assets/mini`, by `python -m discogp.mini.train`.
"""
