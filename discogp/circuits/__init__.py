"""What a circuit is: its graph, its kept edges and weights, its files. Needs no torch and no model.

In: masks from a search, or a folder or JSON file. Out: `Circuit`, immutable; `artifact` and `document` write it,
`describe` puts it in words, `sparsity` counts what it keeps. `graph` is the only place with index arithmetic.
"""
