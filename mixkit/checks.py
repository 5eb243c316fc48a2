"""What the pure functions check of their draws, and methods of their options: one sentence says what came instead.

Numbers are read on the CPU only: elsewhere that would wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from mixkit.elements import same_in_all

#: Coordinates beyond this could not be squared in float32.
LARGEST_COORDINATE = 1e18

#: The largest weight or concentration with a meaning: far beyond any use, and its products stay finite.
LARGEST_OPTION = 1e30


def readable(tensor: Tensor) -> bool:
    """Whether its numbers can be read without waiting for a device, or breaking a graph that is being compiled."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


# ---- draws


def check_float(name: str, tensor: Tensor) -> None:
    """Raise TypeError for what is no floating-point tensor."""
    _check_tensor(name, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}")


def check_coords(coords: Tensor) -> None:
    """Raise for what is no (B, N, D) of finite coordinates, N and D >= 1; the sample is named."""
    check_float("coords", coords)
    if coords.dim() != 3 or not coords.numel():
        raise ValueError(f"coords must be (B, N, D), got {tuple(coords.shape)}")
    if same_in_all(coords):
        coords = coords[:1]
    if readable(coords):
        least, most = coords.detach().aminmax()  # one quick pass; the sample is looked for only where there is one
        if not (float(most) < LARGEST_COORDINATE and float(least) > -LARGEST_COORDINATE):  # NaN is neither
            peak = torch.linalg.vector_norm(coords.detach(), math.inf, dim=(1, 2))
            sample = int((~(peak < LARGEST_COORDINATE)).nonzero()[0])
            raise ValueError(
                f"coordinates must be finite and below {LARGEST_COORDINATE:g}, "
                f"got {float(peak[sample])} in sample {sample}"
            )


def check_partner(partner: Tensor, size: int | None = None) -> int:
    """Raise for what is no (B,) of samples in [0, B); returns B."""
    _check_tensor("partner", partner)
    if partner.dim() != 1 or not len(partner) or (size is not None and len(partner) != size):
        wanted = "(B,), B at least 1" if size is None else f"({size},)"
        raise ValueError(f"partner must be {wanted}, got {tuple(partner.shape)}")
    check_index("partner", partner, partner.shape, len(partner))
    return len(partner)


def check_index(name: str, index: Tensor, shape: Sequence[int], limit: int) -> None:
    """Raise for what is no int64 tensor of this shape with numbers in [0, limit)."""
    _check_tensor(name, index)
    if index.dtype != torch.long:
        raise TypeError(f"{name} must be int64, got {index.dtype}")
    if index.shape != torch.Size(shape):
        raise ValueError(f"{name} must be {tuple(shape)}, got {tuple(index.shape)}")
    if readable(index) and index.numel():
        least, most = map(int, index.aminmax())
        if least < 0 or most >= limit:
            raise ValueError(f"{name} must lie in [0, {limit}), got {least} to {most}")


def check_assignment(assignment: Tensor | None, size: int, num_elements: int | None) -> None:
    """Raise for what is neither None nor (B, N) of elements in [0, N)."""
    if assignment is not None:
        _check_tensor("assignment", assignment)
        if num_elements is None:
            if assignment.dim() != 2 or not assignment.shape[1]:
                raise ValueError(f"assignment must be ({size}, N), N at least 1, got {tuple(assignment.shape)}")
            num_elements = assignment.shape[1]
        check_index("assignment", assignment, (size, num_elements), num_elements)


def check_numbers(
    name: str,
    numbers: Tensor,
    shapes: Sequence[Sequence[int]],
    low: float = -math.inf,
    high: float = math.inf,
    *,
    integer: bool = False,
) -> None:
    """Raise for what is no tensor of one of the shapes with numbers in [low, high]; NaN is in no range."""
    _check_tensor(name, numbers)
    if integer and numbers.dtype != torch.long:
        raise TypeError(f"{name} must be int64, got {numbers.dtype}")
    if not integer:
        check_float(name, numbers)
    if tuple(numbers.shape) not in {tuple(shape) for shape in shapes}:
        raise ValueError(f"{name} must be {' or '.join(str(tuple(s)) for s in shapes)}, got {tuple(numbers.shape)}")
    if readable(numbers) and numbers.numel():
        least, most = (float(each) for each in numbers.detach().aminmax())  # both NaN where one number is
        if not (least >= low and most <= high):
            wanted = "have no NaN" if (low, high) == (-math.inf, math.inf) else f"lie in [{low:g}, {high:g}]"
            raise ValueError(f"{name} must {wanted}, got {least:g} to {most:g}")


def check_rows(
    name: str, numbers: Tensor, size: int, low: float = -math.inf, high: float = math.inf, *, shared: bool = False
) -> int:
    """Return the columns of (size, columns) numbers as for `check_numbers`; where ``shared``, one row may serve all."""
    columns = numbers.shape[-1] if isinstance(numbers, Tensor) and numbers.dim() == 2 else 0
    shapes = [(rows, columns or -1) for rows in ((size, 1) if shared else (size,))]
    check_numbers(name, numbers, shapes, low, high)
    return columns


def _check_tensor(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")


# ---- options


def check_number(name: str, value: float) -> float:
    """Return ``value`` as a float; TypeError if it is no number, ValueError if it is NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        number = math.inf if value > 0 else -math.inf
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got nan")
    return number


def check_positive(name: str, value: float, limit: float = math.inf) -> float:
    """Return ``value`` as a float; TypeError if it is no number, ValueError if not above 0 or not below a ``limit``."""
    number = check_number(name, value)
    if not number > 0 or (number >= limit and limit < math.inf):
        raise ValueError(f"{name} must be > 0{f' and below {limit:g}' if limit < math.inf else ''}, got {value}")
    return number


def check_concentration(name: str, value: float) -> float:
    """Return the parameter of a Beta or Dirichlet as a float, or raise: it must be positive and finite."""
    return check_positive(name, value, limit=LARGEST_OPTION)


def check_not_negative(name: str, value: float) -> float:
    """Return a weight as a float, or raise: it must be at least 0 and finite."""
    number = check_number(name, value)
    if not 0 <= number < LARGEST_OPTION:
        raise ValueError(f"{name} must be >= 0 and below {LARGEST_OPTION:g}, got {value}")
    return number


def check_share(name: str, value: float, *, least: float = 0.0, whole: bool = True) -> float:
    """Return a probability or a share as a float, or raise: it must lie in [least, 1], or below 1 if not ``whole``."""
    number = check_number(name, value)
    if not least <= number <= 1 or (number == 1 and not whole):
        raise ValueError(f"{name} must lie in [{least:g}, 1{']' if whole else ')'}, got {value}")
    return number


def check_count(name: str, value: int, low: int = 1, high: int | None = None) -> int:
    """Return a whole number in [low, high], or raise TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < low or (high is not None and value > high):
        wanted = f"be at least {low}" if high is None else f"lie in {low} .. {high}"
        raise ValueError(f"{name} must {wanted}, got {value}")
    return int(value)


def check_flag(name: str, value: bool) -> bool:
    """Return True or False, or raise TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value
