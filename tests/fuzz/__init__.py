"""Valid files with one thing wrong in their structure or of an extreme size, and what becomes of them.

`python -m tests.fuzz --cases 5000 --seed 1` runs more than the tests do, and prints whatever is not allowed.
"""
