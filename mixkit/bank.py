"""Saliency remembered per sample: what training steps show of it is kept for the next time a sample comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit.carry import carry_back
from mixkit.checks import check_count, check_share
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.label_tree import map_labels
from mixkit.maps import Maps
from mixkit.plan import MixPlan
from mixkit.running import unwrap
from mixkit.saliency import GradientSaliency
from mixkit.samples import Samples, placed
from mixkit.show_html import BarsOfBank
from mixkit.source import Observer, SaliencySource
from mixkit.watch import Unheard

_MOST = (1 << 31) - 1  # what is counted in int32
_CHUNK = 1 << 24  # numbers that `SaliencyBank.sync` decodes at a time


class SaliencyBank(BarsOfBank, SaliencySource):
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
        momentum: the weight of what was before in the running average, in [0, 1). A sample's first steps are averaged
            plainly. Default 0.5.
        dtype: float32, float16, bfloat16, or uint8, which keeps the square root in 256 levels. Default float16.
        device: where it is kept. On the device of the batches nothing waits for a copy. Default "cpu".
        unseen: the saliency of a sample's first time: "uniform", or "exact", by ``exact``. Default "uniform".
        refresh_every: every so many times that a sample comes, take its saliency exactly. Default None: never.
        exact: what takes saliency exactly, a `GradientSaliency`. Default None: that of the model which
            `mixkit.create_mixer` is given beside the bank.

    Raises:
        ValueError: a number out of range, or an unknown dtype or way with unseen samples.

    Example:
        >>> import mixkit
        >>> bank = SaliencyBank(num_samples=50)
        >>> mixer = mixkit.create_mixer("sagemix", domain="points", num_classes=10, saliency=bank)
        >>> points, labels, keys = torch.randn(8, 64, 3), torch.arange(8), torch.arange(8) + 20
        >>> mixed, targets = mixer(points, labels, samples=keys)
        >>> mixed.square().mean().backward()  # in place of a model's loss
        >>> bank
        SaliencyBank(8 of 50 samples seen, 64 elements each, torch.float16 on cpu, 0.0 MiB)
    """

    learns = True

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
        exact: SaliencySource | None = None,
    ) -> None:
        num_samples = check_count("num_samples", num_samples, high=_MOST)
        if num_elements is not None:
            check_count("num_elements", num_elements, high=_MOST)
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
        self.exact = exact
        self._maps = Maps(num_samples, num_elements or 0, dtype, self.device)
        self._updates = torch.zeros(num_samples, dtype=torch.int32, device=self.device)
        self._merged = self._updates.clone()  # what the other processes know of, see `sync`
        self._unheard = Unheard()
        # times that a sample came, each from a start of its own: then every batch has its share of those to refresh
        self._uses = torch.arange(num_samples, dtype=torch.int32, device=self.device) % (refresh_every or 1)

    # ---- what it is

    @property
    def num_elements(self) -> int | None:
        """Elements of a stored sample; None before the first batch."""
        return self._maps.rows.shape[1] or None

    @property
    def needs_exact(self) -> bool:
        """Whether some saliencies are to be taken exactly, for which it needs ``exact``."""
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

    def read_samples(self, samples: Any, elements: ElementSet) -> Samples:
        """The samples of a batch, on the bank's device; the first batch says how many elements are stored.

        Args:
            samples: `Samples`, or their keys (B,).
            elements: the elements of the batch.

        Raises:
            TypeError: keys or an index that are no integers.
            ValueError: no samples, or such as do not fit the batch or the bank. Values on an accelerator are not read.
        """
        if samples is None:
            raise ValueError(
                "a mixer with a SaliencyBank needs to know the samples: mixer(batch, labels, samples=keys)"
            )
        samples = Samples.of(samples)
        samples.check_size(elements.num_samples, elements.num_elements)
        keys = placed("keys", samples.keys, self.device, 0, self.num_samples)
        if samples.index is None:
            self._start(elements.num_elements)
            if self.num_elements != elements.num_elements:
                raise ValueError(
                    f"the bank has {self.num_elements} elements per sample, the batch {elements.num_elements}: "
                    "give samples=mixkit.Samples(keys, index)"
                )
            return Samples(keys)
        if self.num_elements is None:
            raise ValueError("with an index a bank must be told how many elements are stored: num_elements=")
        return Samples(keys, placed("index", samples.index, self.device, -1, self.num_elements))

    def find(
        self, batch: Tensor, labels: Any, domain: Domain, samples: Any = None, observe: Observer | None = None
    ) -> Tensor:
        """(B, N) what is remembered, once the samples that are due have been taken exactly."""
        if self.needs_exact and self.exact is not None and len(rows := self._take_due(samples.keys).nonzero()[:, 0]):
            due = rows.to(batch.device)
            labels_due = map_labels(lambda label: label.take(due), labels)
            self.store(samples.take(rows), self.exact.find(batch[due], labels_due, domain))
        return self.look_up(samples).to(batch.device)

    @torch.no_grad()
    def look_up(self, samples: Samples | Tensor) -> Tensor:
        """(B, N) float32 the remembered saliency of samples on the bank's device; 0 where their index is -1."""
        samples = Samples.of(samples)
        maps = self._maps.read(samples.keys)
        if samples.index is None:
            return maps
        return maps.gather(1, samples.index.clamp_min(0)).masked_fill_(samples.index < 0, 0)

    @torch.no_grad()
    def store(self, samples: Samples | Tensor, saliency: Tensor) -> None:
        """Remember exact saliency (B, N), in place of what was remembered, of samples on the bank's device."""
        samples = Samples.of(samples)
        if samples.index is None:
            self._start(saliency.shape[1])
        plan = MixPlan.identity(len(samples.keys), self.device)
        self._remember(plan, saliency.to(self.device, torch.float32), samples, momentum=0.0)

    def watch(self, mixed: Tensor, plan: MixPlan, samples: Any, domain: Domain) -> Tensor:
        """The mixed batch, whose gradient updates the bank every time that it is computed.

        Args:
            mixed: a batch of M samples. Where it does not ask for a gradient yet, it comes back as a leaf that does.
            plan: what it is made of.
            samples: what `read_samples` returned.
            domain: says which elements a gradient belongs to (`Domain.saliency`).
        """
        # an unmixed batch may be the user's own: leave that as it is
        mixed = mixed.view_as(mixed) if mixed.requires_grad else mixed.detach().requires_grad_()
        self._unheard.expect()

        def receive(grad: Tensor) -> None:
            self._unheard.hear()
            with torch.no_grad():
                magnitude = domain.saliency(grad).to(self.device, torch.float32)
                self._remember(plan.to(self.device), magnitude, samples, self.momentum)

        mixed.register_hook(receive)
        return mixed

    def with_model(self, exact: SaliencySource) -> SaliencySource:
        """The bank, with this ``exact`` where it needs one and has none; ValueError where it has another model's."""
        models = [unwrap(source.model) for source in (self.exact, exact) if isinstance(source, GradientSaliency)]
        if self.needs_exact and len({id(model) for model in models}) > 1:
            raise ValueError(
                "the bank takes saliency exactly by one model, its exact=, and the mixer is given another: "
                "give each model a bank of its own"
            )
        if self.needs_exact and self.exact is None:
            self.exact = exact
        return self

    def what_is_missing(self) -> str | None:
        """The model, where samples are to be taken exactly."""
        lacking = self.needs_exact and self.exact is None
        return "a SaliencyBank with unseen='exact' or refresh_every needs model=" if lacking else None

    # ---- keeping it

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that is remembered, tensors only; before the first batch the maps are (num_samples, 0)."""
        counts = {"updates": self._updates, "merged": self._merged, "uses": self._uses}
        return {"maps": self._maps.rows, "peaks": self._maps.peaks, **counts}

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
        copies = {name: tensor.to(self.device, copy=True) for name, tensor in state.items()}
        self._maps.rows, self._maps.peaks = copies["maps"], copies["peaks"]
        self._updates, self._merged, self._uses = copies["updates"], copies["merged"], copies["uses"]

    @torch.no_grad()
    def sync(self) -> None:
        """Merge what the processes of `torch.distributed` have learnt since the last time, in all of them alike.

        Call it in every process, after an epoch, say. A sample's saliency becomes the mean over the processes by how
        often each has updated it since. Without a process group, or before any process's first batch, it does nothing.
        """
        dist = torch.distributed
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return
        num_elements = torch.tensor(self.num_elements or 0, device=self.device)
        dist.all_reduce(num_elements, op=dist.ReduceOp.MAX)  # a process without a batch yet learns the number here
        if not num_elements:
            return
        self._start(int(num_elements))
        assert self.num_elements
        new = self._updates - self._merged
        total = new.clone()
        dist.all_reduce(total)
        for keys in torch.arange(self.num_samples, device=self.device).split(max(_CHUNK // self.num_elements, 1)):
            part = self._maps.read(keys) * new[keys, None]
            dist.all_reduce(part)
            updated = total[keys] > 0
            self._maps.write(keys[updated], part[updated] / total[keys][updated, None])
        dist.all_reduce(self._uses, op=dist.ReduceOp.MAX)
        self._updates.copy_(self._merged + total)
        self._merged.copy_(self._updates)

    # ---- helpers

    def _start(self, num_elements: int) -> None:
        """Make room for so many elements per sample, where none is made yet."""
        if self.num_elements is None:
            self._maps = Maps(self.num_samples, num_elements, self.dtype, self.device)

    def _take_due(self, keys: Tensor) -> Tensor:
        """(B,) bool which of the samples are to be taken exactly this time; counts the time."""
        due = torch.zeros_like(keys, dtype=torch.bool)
        if self.unseen == "exact":
            due |= self._updates[keys] == 0
        if self.refresh_every is not None:
            uses = self._uses[keys] + 1
            due |= uses % self.refresh_every == 0
            self._uses[keys] = uses
        return due

    def _remember(self, plan: MixPlan, magnitude: Tensor, samples: Samples, momentum: float) -> None:
        """Carry the magnitudes (M, N) that a mixed batch shows back to the samples that it shows."""
        keys = samples.keys
        before = self._maps.read(keys)
        fresh, shown = carry_back(plan, magnitude, before, samples.index)
        updates = self._updates[keys]
        keep = (updates / (updates + 1)).clamp_max(momentum)[:, None]
        rows = torch.where(shown, torch.lerp(fresh, before, keep), before)
        self._maps.write(keys, rows / rows.mean(1, keepdim=True))  # parts that overlap disagree about the mean a little
        self._updates[keys] = updates + shown.any(1)
