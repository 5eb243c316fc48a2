"""Benchmarks: what is fast, what is small, what is certified. Each module has `add_arguments` and `main`; none is a test."""
