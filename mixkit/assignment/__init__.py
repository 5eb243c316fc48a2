"""Optimal one-to-one assignment between point clouds, with a certified gap. The solvers live beside this."""

from mixkit.assignment.api import Assignment, assign, assign_cost

__all__ = ["Assignment", "assign", "assign_cost"]
