"""The parts of the Tasks page: cards, figures on demand, prompts of one's own."""
