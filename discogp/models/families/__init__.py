"""How the parameters of each family become `ModelWeights`: one module a layout, one function and
one row of the `table` a Hugging Face class.

An extractor receives the Hugging Face configuration and the parameters under their Hugging Face names, and refuses
by name every setting that it does not reproduce: a circuit of a forward pass that differs from the model's would be a
circuit of another model.
"""
