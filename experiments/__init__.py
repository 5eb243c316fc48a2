"""Experiments with mixkit on real data: `python -m experiments --help`. Stays in the repository, outside the wheel."""
