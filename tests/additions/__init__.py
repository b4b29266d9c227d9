"""What a newcomer writes for a new task, method, model family, measure, export format or page: one file each.

`tests/test_additions.py` lays each into a copy of the checkout and uses it there; ARCHITECTURE.md points here.
"""
