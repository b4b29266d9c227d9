"""From a name or a folder to plain weight tensors.

In: a known name (`registry`), a hub name or a folder. `locate` finds its files, `loading` reads them through
TransformerLens, `architectures` names the families whose files (`families/`) turn them into `ModelWeights`.
`fetch` gets what is not here. What would not be reproduced exactly is refused by name.
"""
