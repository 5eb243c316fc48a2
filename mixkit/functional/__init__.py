"""Pure functions, one per method: its draws in, its plan out. Nothing here is random and nothing knows a domain."""

from mixkit.functional.mixup import mixup, pointmixup
from mixkit.functional.sagemix import sagemix

__all__ = ["mixup", "pointmixup", "sagemix"]
