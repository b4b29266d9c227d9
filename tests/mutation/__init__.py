"""Does the suite notice faults? One-line faults go into a copy of the code, and the tests that should fail are run.

`python -m tests.mutation` is for whoever writes tests: it is no part of `make test`, which only checks that the list
(`faults`) still fits the code.
"""
