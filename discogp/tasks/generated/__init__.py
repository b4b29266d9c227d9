"""Tasks whose prompts are generated from grammars and word lists of our own; one file a task."""
