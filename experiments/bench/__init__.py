"""Benchmarks, one module each; figures are ratios within one run."""
