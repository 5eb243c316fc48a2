"""What notebooks show: plain HTML of a few hundred bytes a row, everything escaped, without scripts or style sheets."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

_ROWS = 8  # outputs of a plan that are shown
_PARTS = 6  # samples of an output that are told apart; the rest is grey


class BarsOfPlan:
    """A plan in a notebook: what its first outputs are made of, as bars."""

    if TYPE_CHECKING:

        @property
        def sample_weights(self) -> Tensor: ...

    def _repr_html_(self) -> str:
        weights = self.sample_weights.detach().float().cpu()
        rows = [_row(str(number), _parts(row)) for number, row in enumerate(weights[:_ROWS])]
        left = len(weights) - _ROWS
        return _page(repr(self).splitlines()[0], rows, f"... {left} more" if left > 0 else "")


class BarsOfBank:
    """A bank in a notebook: how many of its samples have been learnt how often, as bars."""

    _updates: Tensor

    def _repr_html_(self) -> str:
        updates = self._updates.cpu()
        size = int(updates.max()) // _ROWS + 1  # so many numbers of updates share a row
        ranges, counts = ((updates + size - 1) // size).unique(return_counts=True)
        rows = []
        for place, count in zip(ranges.tolist(), counts.tolist(), strict=True):
            low, high = (place - 1) * size + 1, place * size
            name = "never" if place == 0 else f"{high} x" if low == high else f"{low}-{high} x"
            rows.append(_row(name, [(count / len(updates), "#8c9", f"{count} samples")]))
        return _page(repr(self), rows)


def _page(text: str, rows: Sequence[str], after: str = "") -> str:
    words = [f"<div>{escape(each)}</div>" if each else "" for each in (text, after)]
    return f'<div style="font:12px monospace">{words[0]}{"".join(rows)}{words[1]}</div>'


def _parts(row: Tensor) -> list[tuple[float, str, str]]:
    """The shares of an output: how much, in which colour, and what it is."""
    largest = [k for k in torch.topk(row, min(_PARTS, len(row))).indices.tolist() if row[k] > 0]
    parts = [(float(row[k]), f"hsl({k * 137 % 360},60%,75%)", f"sample {k}: {row[k]:.3f}") for k in largest]
    rest = 1 - sum(share for share, _, _ in parts)
    return [*parts, (rest, "#ddd", f"others: {rest:.3f}")] if rest > 5e-4 else parts


def _row(name: str, parts: Sequence[tuple[float, str, str]]) -> str:
    """A name, and a bar of coloured parts with their words."""
    bar = "".join(
        f'<span style="display:inline-block;overflow:hidden;white-space:nowrap;height:15px;'
        f'width:{100 * share:.2f}%;background:{colour}" title="{escape(said)}">{escape(said)}</span>'
        for share, colour, said in parts
    )
    return (
        f'<div style="display:flex"><span style="width:8em">{escape(name)}</span>'
        f'<span style="display:flex;width:40em;background:#eee;color:#000">{bar}</span></div>'
    )
