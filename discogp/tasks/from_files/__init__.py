"""Tasks read from files: published data sets, and prompts of one's own."""
