"""One run: its configuration, its training, and its folder. Knows nothing of sweeps, reports and commands."""
