"""Optimal one-to-one assignment between point clouds, with a certified gap: the public face; the solvers live beside it."""

from mixkit.assignment.api import Assignment, assign

__all__ = ["Assignment", "assign"]
