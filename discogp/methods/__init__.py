"""Methods of circuit discovery, one file or folder each; `base` says what a method is and holds their registry.

In: a `Job` (model, `TaskData`, who takes part, where to save) and the method's settings. Out: `Progress` events, of
which the last carries the circuit. Methods do not know one another, and nothing outside one knows its insides.
"""
