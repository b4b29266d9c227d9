"""Methods of circuit discovery.

In: a model, `TaskData`, the method's settings. Out: `Progress` events, of which the last carries the circuit.
"""
