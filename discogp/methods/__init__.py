"""Ways to find a circuit, one file each."""
