"""Pairs of clouds of many sizes, each pair matched one to one at least total distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit.assignment import assign
from mixkit.ragged.packed import Packed
from mixkit.threads import in_threads


def match(
    a: Packed, b: Packed, *, tolerance: float = 0.05, solver: str = "auto", options: Mapping[str, Any] | None = None
) -> Tensor:
    """(L,) long, the row of b that each row of a is paired with, within its sample.

    On the CPU threads share the pairs, as in `mixkit.assign`; on an accelerator they are matched one after another.

    Args:
        a: coordinates (n_i, D) of each sample.
        b: as many of each.
        tolerance: see `mixkit.assign`. Default 0.05.
        solver: see `mixkit.assign`. Default "auto".
        options: the solver's options. Default None.
    """
    firsts, seconds = a.split(), b.split()
    starts = a.offsets.tolist()
    index = torch.empty(a.num_rows, dtype=torch.long, device=a.rows.device)
    if a.rows.device.type == "cpu" and solver in ("auto", "auction") and not options:
        from mixkit.assignment import cpu  # its numba takes a while to import

        def match_pair(pair: int) -> None:
            index[starts[pair] : starts[pair + 1]] = cpu.match(firsts[pair], seconds[pair], tolerance) + starts[pair]

        in_threads(match_pair, len(firsts))
        return index
    for start, first, second in zip(starts, firsts, seconds, strict=False):
        pair = assign(first[None], second[None], tolerance=tolerance, solver=solver, **(options or {}))
        index[start : start + len(first)] = pair.index[0] + start
    return index
