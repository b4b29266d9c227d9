"""From a name or a folder to plain weight tensors.

In: a known name (`registry`), a hub name or a folder. `locate` finds its files, `claims` and `bounds` hold its
configuration against what its weight files (`stored`) have room for, `loading` reads them through TransformerLens,
`architectures` names the families whose files (`families/`) turn them into `ModelWeights`, `leftovers` looks at what
else is stored. `fetch` gets what is not here. What would not be reproduced exactly is refused by name.
"""
