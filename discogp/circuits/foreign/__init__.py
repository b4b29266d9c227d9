"""Circuits as other programs write them: MIB and EAP-IG's JSON, ACDC's hook names, plain lists of edges.

`reading` tells the forms apart and refuses by name what is none; `mib` and `edge_lists` read and write one form each,
`names` says what a node is called elsewhere. Needs no torch: a `.pt` is a pickle, which runs code when it is opened.
"""
