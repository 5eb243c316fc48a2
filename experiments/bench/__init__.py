"""Benchmarks of speed and memory, never tests: modules with `add_arguments` and `main`, and what they share."""
