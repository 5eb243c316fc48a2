"""Saliency remembered per sample: what training steps show of it is kept for the next time a sample comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mixkit.carry import carry_back
from mixkit.checks import check_count, check_share
from mixkit.plan import MixPlan
from mixkit.watch import Unheard

_STATE = ("maps", "peaks", "updates", "merged", "uses")
_MOST = (1 << 31) - 1  # what is counted in int32
_CHUNK = 1 << 24  # numbers that `SaliencyBank.sync` decodes at a time


class SaliencyBank:
    """The saliency of every sample of a data set, learnt from the gradients of training itself.

    A training step on a mixed batch can have the gradient on its input for the price of the first layer's. A mixer with
    a bank takes its magnitude there and carries it back to the samples and places that the mix shows; the next time a
    sample comes, its queries are drawn by what is remembered. No saliency pass is made.

    A sample's saliency starts uniform. What a mix does not show of it (weight below 1/2, or left out by augmentation)
    keeps its value. What it shows becomes a running average, at the scale that those places had, so that the mean over
    a sample stays about 1 whatever the loss, its scale or the number of accumulated batches.

    A loss that does not reach the mixed batch teaches nothing: where the batch is detached, or the gradients come from
    ``torch.autograd.grad(loss, weights)``, which goes no further than the weights; name the batch there too. After
    32 batches in a row without a gradient the bank warns, once.

    Args:
        num_samples: samples in the data set; their keys are 0 to num_samples - 1.
        num_elements: elements of a stored sample. Default None: as many as the first batch has.
        momentum: of the running average, in [0, 1). A sample's first steps are averaged plainly. Default 0.5.
        dtype: float32, float16, bfloat16, or uint8, which keeps the square root in 256 levels. Default float16.
        device: where it is kept. On the device of the batches nothing waits for a copy. Default "cpu".
        unseen: the saliency of a sample's first time: "uniform", or "exact" by the mixer's model. Default "uniform".
        refresh_every: every so many times that a sample comes, take its saliency exactly, by the mixer's model.
            Default None: never.

    Raises:
        ValueError: a number out of range, or an unknown dtype or way with unseen samples.

    Example:
        >>> import mixkit
        >>> bank = SaliencyBank(num_samples=50)
        >>> mixer = mixkit.create_mixer("sagemix", domain="points", num_classes=10, saliency=bank)
        >>> points, labels, keys = torch.randn(8, 64, 3), torch.arange(8), torch.arange(8) + 20
        >>> mixed, targets = mixer(points, labels, keys=keys)
        >>> mixed.square().mean().backward()  # in place of a model's loss
        >>> bank
        SaliencyBank(8 of 50 samples seen, 64 elements each, torch.float16 on cpu, 0.0 MiB)
    """

    def __init__(
        self,
        num_samples: int,
        num_elements: int | None = None,
        *,
        momentum: float = 0.5,
        dtype: torch.dtype = torch.float16,
        device: torch.device | str = "cpu",
        unseen: str = "uniform",
        refresh_every: int | None = None,
    ) -> None:
        num_samples = check_count("num_samples", num_samples, high=_MOST)
        if dtype not in (torch.float32, torch.float16, torch.bfloat16, torch.uint8):
            raise ValueError(f"dtype must be float32, float16, bfloat16 or uint8, got {dtype}")
        if unseen not in ("uniform", "exact"):
            raise ValueError(f"unseen must be 'uniform' or 'exact', got {unseen!r}")
        self.num_samples = num_samples
        self.momentum = check_share("momentum", momentum, whole=False)
        self.dtype = dtype
        self.device = torch.device(device)
        self.unseen = unseen
        self.refresh_every = None if refresh_every is None else check_count("refresh_every", refresh_every, high=_MOST)
        self._maps = torch.empty(num_samples, 0, dtype=dtype, device=self.device)  # (num_samples, num_elements)
        self._peaks = torch.ones(num_samples, device=self.device)  # of a sample, which uint8 levels are relative to
        self._updates = torch.zeros(num_samples, dtype=torch.int32, device=self.device)
        self._merged = self._updates.clone()  # what the other processes know of, see `sync`
        self._unheard = Unheard()
        # times that a sample came, each from a start of its own: then every batch has its share of those to refresh
        self._uses = torch.arange(num_samples, dtype=torch.int32, device=self.device) % (refresh_every or 1)
        if num_elements is not None:
            self._allocate(check_count("num_elements", num_elements, high=_MOST))

    # ---- what it is

    @property
    def num_elements(self) -> int | None:
        """Elements of a stored sample; None before the first batch."""
        return self._maps.shape[1] or None

    @property
    def needs_exact(self) -> bool:
        """Whether some saliencies are to be taken exactly, for which a mixer needs a model."""
        return self.unseen == "exact" or self.refresh_every is not None

    @property
    def num_bytes(self) -> int:
        """The memory that it takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state_dict().values())

    def __repr__(self) -> str:
        seen, elements = int((self._updates > 0).sum()), self.num_elements or "not yet known"
        return (
            f"SaliencyBank({seen} of {self.num_samples} samples seen, {elements} elements each, "
            f"{self.dtype} on {self.device}, {self.num_bytes / 2**20:.1f} MiB)"
        )

    # ---- using it

    def check(self, keys: Any, index: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Check keys and index against a batch of B samples of N elements, and bring them to the bank's device.

        Args:
            keys: (B,) integers.
            index: (B, N) or (B, H, W) integers, or None.
            size: (B, N).

        Raises:
            TypeError, ValueError: what came is no such thing. Values on an accelerator are not read.
        """
        if keys is None:
            raise ValueError("a mixer with a SaliencyBank needs to know the samples: mixer(batch, labels, keys=...)")
        keys = torch.as_tensor(keys)
        if keys.dtype == torch.bool or keys.is_floating_point() or keys.is_complex():
            raise TypeError(f"keys must be integers, got {keys.dtype}")
        if keys.shape != (size[0],):
            raise ValueError(f"keys must be ({size[0]},), one for each sample of the batch, got {tuple(keys.shape)}")
        keys = _checked("keys", keys, self.device, 0, self.num_samples)
        if self.num_elements is None:
            if index is not None:
                raise ValueError("with index= a bank must be told how many elements are stored: num_elements=")
            self._allocate(size[1])
        if index is None:
            if self.num_elements != size[1]:
                raise ValueError(
                    f"the bank has {self.num_elements} elements per sample, the batch {size[1]}: give index="
                )
            return keys, None
        if index.dtype == torch.bool or index.is_floating_point():
            raise TypeError(f"index must be integers, got {index.dtype}")
        if index.dim() < 2 or (len(index), index[0].numel()) != tuple(size):
            raise ValueError(f"index must be {tuple(size)}, one for each element, got {tuple(index.shape)}")
        return keys, _checked("index", index.flatten(1), self.device, -1, self._maps.shape[1])

    @torch.no_grad()
    def look_up(self, keys: Tensor, index: Tensor | None = None) -> Tensor:
        """(B, N) float32 the remembered saliency; keys and index as `check` returns them. Index -1 has none, 0."""
        maps = self._read(keys)
        if index is None:
            return maps
        return maps.gather(1, index.clamp_min(0)).masked_fill_(index < 0, 0)

    @torch.no_grad()
    def take_due(self, keys: Tensor) -> Tensor:
        """(B,) bool which of the samples are to be taken exactly this time; counts the time."""
        due = torch.zeros_like(keys, dtype=torch.bool)
        if self.unseen == "exact":
            due |= self._updates[keys] == 0
        if self.refresh_every is not None:
            uses = self._uses[keys] + 1
            due |= uses % self.refresh_every == 0
            self._uses[keys] = uses
        return due

    @torch.no_grad()
    def store(self, keys: Tensor, saliency: Tensor, index: Tensor | None = None) -> None:
        """Remember exact saliency (B, N) in place of what was remembered; keys and index as `check` returns them."""
        plan = MixPlan.identity(len(keys), self.device)
        self._remember(plan, saliency.to(self.device, torch.float32), keys, index, momentum=0.0)

    def watch(
        self,
        mixed: Tensor,
        plan: MixPlan,
        keys: Tensor,
        index: Tensor | None,
        magnitude: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """The mixed batch, whose gradient updates the bank every time that it is computed.

        Args:
            mixed: a batch of M samples. Where it does not ask for a gradient yet, it comes back as a leaf that does.
            plan: what it is made of.
            keys: (B,) of the samples, as `check` returns them.
            index: (B, N) of their elements, likewise.
            magnitude: gradient to (M, N), `Domain.saliency`.
        """
        if not mixed.requires_grad:
            mixed = mixed.detach().requires_grad_()  # an unmixed batch may be the user's own: leave that as it is

        self._unheard.expect()

        def receive(grad: Tensor) -> None:
            self._unheard.hear()
            with torch.no_grad():
                found = magnitude(grad).to(self.device, torch.float32)
                self._remember(plan.to(self.device), found, keys, index, self.momentum)

        mixed.register_hook(receive)
        return mixed

    # ---- keeping it

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that is remembered, tensors only; before the first batch the maps are (num_samples, 0)."""
        return {name: getattr(self, f"_{name}") for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what a `state_dict` holds.

        Raises:
            ValueError: it is of another number of samples or elements, or of another dtype.
        """
        maps = state["maps"]
        fits = self.num_elements in (None, maps.shape[1])
        if len(maps) != self.num_samples or maps.dtype != self.dtype or not fits:
            raise ValueError(
                f"the bank is {self.num_samples} x {self.num_elements or 'any number'} {self.dtype}, "
                f"the state {len(maps)} x {maps.shape[1]} {maps.dtype}"
            )
        for name in _STATE:
            setattr(self, f"_{name}", state[name].to(self.device, copy=True))

    @torch.no_grad()
    def sync(self) -> None:
        """Merge what the processes of `torch.distributed` have learnt since the last time, in all of them alike.

        Call it in every process, after an epoch, say. A sample's saliency becomes the mean over the processes by how
        often each has updated it since. Without a process group, or before the first batch, it does nothing.
        """
        dist = torch.distributed
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1 or not self._maps.numel():
            return
        new = self._updates - self._merged
        total = new.clone()
        dist.all_reduce(total)
        for keys in torch.arange(self.num_samples, device=self.device).split(max(_CHUNK // self._maps.shape[1], 1)):
            part = self._read(keys) * new[keys, None]
            dist.all_reduce(part)
            known = total[keys] > 0
            self._write(keys[known], part[known] / total[keys][known, None])
        dist.all_reduce(self._uses, op=dist.ReduceOp.MAX)
        self._updates.copy_(self._merged + total)
        self._merged.copy_(self._updates)

    # ---- places that travel through an image pipeline

    @staticmethod
    def places(*sides: int, cells: Sequence[int] | None = None) -> Tensor:
        """(1, H, W) int32 the number of each place of a stored grid, from 1: 0 is what a transform fills in.

        Wrapped as ``tv_tensors.Mask`` beside the image, it goes through the same crop and flip; `index_of` reads it.

        Args:
            sides: of the stored sample, (H, W) for an image.
            cells: remember a grid of so many cells instead of one place per pixel; ``num_elements`` is their product.

        Example:
            >>> SaliencyBank.places(2, 3)
            tensor([[[1, 2, 3],
                     [4, 5, 6]]], dtype=torch.int32)
            >>> SaliencyBank.places(2, 4, cells=(1, 2))
            tensor([[[1, 1, 2, 2],
                     [1, 1, 2, 2]]], dtype=torch.int32)
        """
        cells = sides if cells is None else cells
        if len(cells) != len(sides) or not sides or min(*sides, *cells, 1) < 1:
            raise ValueError(f"cells must have as many sides >= 1 as the sample, got {tuple(cells)} for {sides}")
        number = torch.zeros((), dtype=torch.long)
        for side, count in zip(sides, cells, strict=True):
            number = number[..., None] * count + torch.arange(side) * count // side
        return (number + 1).to(torch.int32)[None]

    @staticmethod
    def index_of(places: Tensor) -> Tensor:
        """(B, N) long, the ``index`` of a batch of `places` (B, 1, H, W) or (B, H, W): -1 where they are 0."""
        return places.flatten(1).long() - 1

    # ---- helpers

    def _allocate(self, num_elements: int) -> None:
        self._maps = torch.empty(self.num_samples, num_elements, dtype=self.dtype, device=self.device)
        self._maps.fill_(255 if self.dtype == torch.uint8 else 1)

    def _read(self, keys: Tensor) -> Tensor:
        """(B, num_elements) float32."""
        rows = self._maps[keys].float()
        return rows.div_(255).square_().mul_(self._peaks[keys, None]) if self.dtype == torch.uint8 else rows

    def _write(self, keys: Tensor, rows: Tensor) -> None:
        if self.dtype == torch.uint8:
            peaks = rows.amax(1).clamp_min(torch.finfo(torch.float32).tiny)
            self._peaks[keys] = peaks
            rows = (rows / peaks[:, None]).sqrt_().mul_(255).round_()
        else:
            rows = rows.clamp_max(torch.finfo(self.dtype).max)
        self._maps[keys] = rows.to(self.dtype)

    def _remember(self, plan: MixPlan, found: Tensor, keys: Tensor, index: Tensor | None, momentum: float) -> None:
        """Carry the magnitudes (M, N) that a mixed batch shows back to the samples that it shows."""
        known = self._read(keys)
        fresh, shown = carry_back(plan, found, known, index)
        updates = self._updates[keys]
        keep = (updates / (updates + 1)).clamp_max(momentum)[:, None]
        rows = torch.where(shown, torch.lerp(fresh, known, keep), known)
        self._write(keys, rows / rows.mean(1, keepdim=True))  # parts that overlap disagree about the mean a little
        self._updates[keys] = updates + shown.any(1)


def _checked(name: str, values: Tensor, device: torch.device, low: int, end: int) -> Tensor:
    """The values as long on a device; ValueError for any outside [low, end), where they can be read without a wait."""
    moved = values.to(device, torch.long)
    near = values if values.device.type == "cpu" else moved
    if near.device.type == "cpu" and near.numel() and (near.min() < low or near.max() >= end):
        raise ValueError(f"{name} must lie in [{low}, {end}), got {int(near.min())} to {int(near.max())}")
    return moved
