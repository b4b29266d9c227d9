"""Known models, and the way from a checkpoint to plain weight tensors."""
