"""timm's own Mixup and CutMix, drawn in its order from NumPy: the same seed gives the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mixkit.checks import check_not_negative, check_number

MODES = ("batch", "pair", "elem", "half")


class Box(NamedTuple):
    """The rows and columns of a box of pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def pixels(self) -> tuple[Any, ...]:
        """The index of its pixels in images (..., H, W)."""
        return (..., slice(self.top, self.bottom), slice(self.left, self.right))


class PairDraws(NamedTuple):
    """How each of a batch's images is mixed with the one at the same distance from the other end."""

    ratio: np.ndarray  # (B,), or () for the whole batch: the image's own weight, in Mixup of pixels, always of labels
    boxes: dict[int, Box]  # by image, what is its partner's; of the whole batch at -1

    @property
    def interpolates(self) -> bool:
        """Whether any pixel is made of two."""
        if self.ratio.ndim == 0:
            return not self.boxes and bool(self.ratio != 1)
        return any(own != 1 and i not in self.boxes for i, own in enumerate(self.ratio.tolist()))


class TimmPairs:
    """Draws as `timm.data.Mixup` does, and mixes as it does, without a change of what came.

    Image i is paired with image B - 1 - i; of an odd batch the one in the middle is paired with itself.

    Args:
        mixup_alpha: Mixup's ``lambda ~ Beta(alpha, alpha)``; 0 switches it off.
        cutmix_alpha: CutMix's; 0 switches it off.
        cutmix_minmax: the least and the most share of each side that CutMix's box takes; then CutMix is on, and its
            box is drawn by these. Default None.
        prob: the probability that a batch, a pair or an image is mixed.
        switch_prob: the probability of CutMix where both are on.
        mode: "batch", one ratio for all; "elem", one for each image; "pair", one for the two of a pair; "half", as
            "elem", of which a loader keeps the first half.
        correct_lam: the label counts the pixels of the box that lies inside. Default True.
        random: NumPy's generator. Default: its global state, as in timm.

    Raises:
        ValueError: neither is on, an alpha below 0, a mode that there is not, or shares that are none.
    """

    def __init__(
        self,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        cutmix_minmax: Sequence[float] | None = None,
        *,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: str = "batch",
        correct_lam: bool = True,
        random: Any = np.random,
    ) -> None:
        if cutmix_minmax is not None:
            shares = [check_number("cutmix_minmax", share) for share in cutmix_minmax]
            if len(shares) != 2 or not 0 <= shares[0] <= shares[1] <= 1:
                raise ValueError(
                    f"cutmix_minmax must be two shares of a side, the smaller first, got {cutmix_minmax!r}"
                )
            cutmix_alpha = 1.0
        for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
            check_not_negative(name, alpha)
        if not mixup_alpha and not cutmix_alpha:
            raise ValueError("one of mixup_alpha, cutmix_alpha and cutmix_minmax must be on, and all are off")
        self.mixup_alpha, self.cutmix_alpha, self.cutmix_minmax = mixup_alpha, cutmix_alpha, cutmix_minmax
        self.prob, self.switch_prob, self.mode, self.correct_lam = prob, switch_prob, mode, correct_lam
        self._random = None if random is np.random else random

    def draw(self, size: int, grid: tuple[int, int], *, collating: bool = False) -> PairDraws:
        """Draw for a batch of images of (H, W); where it is ``collating``, in the order of timm's collate function."""
        if self.mode == "batch" or (self.mode == "half" and not collating):
            return self._draw_batch(grid, collating)
        number = size // 2 if self.mode in ("pair", "half") else size
        ratio, cuts = self._draw_ratios(number)
        boxes = {}
        for i in np.flatnonzero(cuts & (ratio != 1)).tolist():
            boxes[i], ratio[i] = self._draw_box(grid, ratio[i])
        if self.mode == "pair":
            middle = np.ones(size % 2, dtype=ratio.dtype)
            boxes |= {size - 1 - i: box for i, box in boxes.items()}
            ratio = np.concatenate([ratio, middle, ratio[::-1]])
        elif self.mode == "half":
            ratio = np.concatenate([ratio, np.ones(size - number, dtype=ratio.dtype)])
        return PairDraws(ratio, boxes)

    def mix(self, images: Tensor, draws: PairDraws) -> Tensor:
        """The mixed images (B, C, H, W): uint8 is interpolated in float32 and rounded to the nearest, ties to even."""
        ratio, boxes = draws
        mixed, other = images.clone(), images.flip(0)
        if ratio.ndim == 0:
            if box := boxes.get(-1):
                mixed[box.pixels] = other[box.pixels]
            return mixed if boxes or ratio == 1 else _interpolated(images, other, ratio)
        for i, box in boxes.items():
            mixed[i][box.pixels] = other[i][box.pixels]
        if rows := [i for i, own in enumerate(ratio.tolist()) if own != 1 and i not in boxes]:
            places = torch.tensor(rows, device=images.device)
            mixed[places] = _interpolated(images[places], other[places], ratio[rows])
        return mixed

    def _draw_batch(self, grid: tuple[int, int], collating: bool) -> PairDraws:
        random = self._random or np.random
        ratio, cut = 1.0, False
        if random.rand() < self.prob:
            cut = random.rand() < self.switch_prob if self.mixup_alpha and self.cutmix_alpha else not self.mixup_alpha
            alpha = self.cutmix_alpha if cut else self.mixup_alpha
            ratio = float(random.beta(alpha, alpha))
        if not cut or (ratio == 1 and not collating):
            return PairDraws(np.array(ratio), {})
        box, ratio = self._draw_box(grid, ratio)
        return PairDraws(np.array(ratio), {-1: box})

    def _draw_ratios(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(number,) float32 ratios, 1 for what is not mixed, and whether each is CutMix's."""
        random = self._random or np.random
        if self.mixup_alpha and self.cutmix_alpha:
            cuts = random.rand(number) < self.switch_prob
            of_cuts = random.beta(self.cutmix_alpha, self.cutmix_alpha, size=number)  # drawn before Mixup's
            drawn = np.where(cuts, of_cuts, random.beta(self.mixup_alpha, self.mixup_alpha, size=number))
        else:
            alpha = self.mixup_alpha or self.cutmix_alpha
            cuts = np.full(number, not self.mixup_alpha)
            drawn = random.beta(alpha, alpha, size=number)
        return np.where(random.rand(number) < self.prob, drawn.astype(np.float32), np.float32(1)), cuts

    def _draw_box(self, grid: tuple[int, int], ratio: Any) -> tuple[Box, Any]:
        """A box whose sides are the root of 1 - ratio, or drawn, and the ratio of the pixels that are left."""
        random = self._random or np.random
        height, width = grid
        if self.cutmix_minmax is None:
            side = np.sqrt(1 - ratio)
            rows, columns = int(height * side), int(width * side)
            y, x = random.randint(0, height), random.randint(0, width)
            top, bottom = max(y - rows // 2, 0), min(y + (rows + 1) // 2, height)
            left, right = max(x - columns // 2, 0), min(x + (columns + 1) // 2, width)
        else:
            least, most = self.cutmix_minmax
            if any(int(size * least) >= int(size * most) for size in grid):
                raise ValueError(
                    f"cutmix_minmax={self.cutmix_minmax} leaves no choice of whole pixels in images {grid}"
                )
            rows = random.randint(int(height * least), int(height * most))
            columns = random.randint(int(width * least), int(width * most))
            top = random.randint(0, height - rows + 1)
            left = random.randint(0, width - columns + 1)
            bottom, right = top + rows, left + columns
        if self.correct_lam or self.cutmix_minmax is not None:
            ratio = 1 - (bottom - top) * (right - left) / (height * width)
        return Box(int(top), int(bottom), int(left), int(right)), ratio


def _interpolated(images: Tensor, other: Tensor, ratio: np.ndarray) -> Tensor:
    """``ratio * images + (1 - ratio) * other``; each product is rounded to the images' dtype, as timm's are."""
    exact = torch.float64 if images.dtype == torch.float64 else torch.float32
    own, rest = (
        torch.from_numpy(np.asarray(r)).to(images.device, exact)[..., None, None, None] for r in (ratio, 1 - ratio)
    )
    products = images.to(exact) * own, other.to(exact) * rest
    if not images.is_floating_point():
        return (products[0] + products[1]).round().to(images.dtype)
    return products[0].to(images.dtype) + products[1].to(images.dtype)
