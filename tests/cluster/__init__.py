"""A real SLURM on this machine, and the tiny study on it."""
