"""What a vision transformer's class token attends to, and labels that weigh as much as what it attends to: TransMix."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mixkit import draws
from mixkit.checks import check_share
from mixkit.factory import create_mixer
from mixkit.grid import patch_tokens
from mixkit.partners import PREVIOUS_BATCH
from mixkit.plan import MixPlan
from mixkit.running import MixerOfModel, frozen, run_model, takes_labels, unwrap
from mixkit.untraced import untraced


class ClassAttention:
    """Reads the attention of a model's class token while a context lasts: in the model's own pass, by a hook.

    Known are modules with ``qkv`` and ``num_heads``, as timm's `Attention`, and `torch.nn.MultiheadAttention` with
    ``batch_first``, as torchvision's `VisionTransformer` has, without rotary embeddings. The class token is the first.

    Args:
        model: the transformer.
        layer: the name of the attention module. Default None: the model's last.

    Raises:
        ValueError: a model without such a module or without a class token, or a name that is none.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=5)
        >>> with ClassAttention(model) as attention:
        ...     logits = model(torch.randn(3, 3, 32, 32))
        >>> attention.tokens.shape  # of the class token itself, and 4 x 4 patches
        torch.Size([3, 17])
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        inner = unwrap(model)
        known = {name: module for name, module in inner.named_modules() if _is_attention(module)}
        if not known or (layer is not None and layer not in known):
            wanted = "a module with qkv and num_heads and no rotary embedding, or a MultiheadAttention with batch_first"
            got = type(inner).__name__ if layer is None else f"{layer!r} of {', '.join(known) or 'none'}"
            raise ValueError(f"the attention of a class token is that of {wanted}; got {got}")
        if getattr(inner, "cls_token", inner) is None or getattr(inner, "has_class_token", None) is False:
            raise ValueError(f"the {type(inner).__name__} has no class token, whose attention it would be")
        self.layer = layer or list(known)[-1]
        self._module = known[self.layer]
        self._handle: Any = None
        self._tokens: Tensor | None = None

    @property
    def tokens(self) -> Tensor:
        """(B, T) float32, the mean over the heads of what the class token attends to, by token; rows sum to 1.

        Raises:
            RuntimeError: the module has not run in the context.
        """
        if self._tokens is None:
            raise RuntimeError(f"{self.layer} did not run, so its attention is not known; is the model compiled?")
        return self._tokens

    def __enter__(self) -> ClassAttention:
        self._tokens = None
        if isinstance(self._module, nn.MultiheadAttention):
            self._handle = self._module.register_forward_pre_hook(self._see_input, with_kwargs=True)
        else:
            self._handle = self._module.qkv.register_forward_hook(self._see_qkv)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    @torch.no_grad()
    def _see_qkv(self, module: nn.Module, args: Any, output: Tensor) -> None:
        attention: Any = self._module
        batch, count, width = output.shape
        heads = output.view(batch, count, 3, attention.num_heads, width // (3 * attention.num_heads))
        query, key = heads[:, :1, 0].transpose(1, 2), heads[:, :, 1].transpose(1, 2)
        query, key = getattr(attention, "q_norm", _as_it_is)(query), getattr(attention, "k_norm", _as_it_is)(key)
        self._tokens = _attend(query, key)

    @torch.no_grad()
    def _see_input(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        attention: Any = self._module
        tokens = args[0] if args else kwargs["query"]
        width, bias = attention.embed_dim, attention.in_proj_bias
        of_query, of_key = (None, None) if bias is None else (bias[:width], bias[width : 2 * width])
        query = nn.functional.linear(tokens[:, :1], attention.in_proj_weight[:width], of_query)
        key = nn.functional.linear(tokens, attention.in_proj_weight[width : 2 * width], of_key)
        query, key = (each.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for each in (query, key))
        self._tokens = _attend(query, key)


class AttentionMixer(MixerOfModel):
    """Mixes a batch, runs a vision transformer on it, and weighs labels by its attention: TransMix (Chen et al. 2022).

    ``logits, targets = mixer(batch, labels)``: one pass, in which the attention of the class token is read. With A its
    share of each patch, and w_k the weight of each sample there (of the cell at the patch's first corner, the nearest),
    a label weighs ``sum A w_k`` over the sum of both (Eq. 4).

    Args:
        model: the transformer, as for `ClassAttention`; held unregistered. ``model(batch)`` gives the logits.
        method: a name of `list_methods`, or a method. Default "cutmix", the paper's.
        domain: a name of `list_domains`, or a domain of grids. Default "image".
        layer: the name of the attention module. Default None: the model's last.
        share: how much of a label's weight is attention's, in [0, 1]; the rest is its mean weight. Default 1, the
            paper's; the authors' code takes 0.5.
        saliency: "attention", for methods that ask for saliency: what the class token attends to of the batch before it
            is mixed, by a forward pass in eval mode without gradients (SMMix, Chen et al. 2023); or as in
            `create_mixer`. Default None.
        forward: how the model is run, where it takes more than the batch (`ManifoldMixer`). Default None.
        options: the others of `create_mixer`.

    Raises:
        ValueError: a model without attention that can be read, one compiled as a whole, a share out of range, the batch
            before as partners, or "attention" beside a ``forward`` that takes labels.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=5)
        >>> mixer = AttentionMixer(model, "cutmix", num_classes=5)
        >>> logits, targets = mixer(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
        >>> logits.shape, targets.shape
        (torch.Size([4, 5]), torch.Size([4, 5]))
    """

    def __init__(
        self,
        model: nn.Module,
        method: Any = "cutmix",
        domain: Any = "image",
        *,
        layer: str | None = None,
        share: float = 1.0,
        saliency: Any = None,
        forward: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, forward)
        self.layer = ClassAttention(model, layer).layer
        self.share = check_share("share", share)
        if isinstance(saliency, str) and saliency == "attention":
            if forward is not None and takes_labels(forward):
                raise ValueError(
                    "saliency='attention' is of the batch alone: give forward=forward(model, batch), without labels"
                )
            saliency = self._attended
        self.mixer = create_mixer(method, domain, model=model, forward=forward, saliency=saliency, **options)
        if self.mixer.partners == PREVIOUS_BATCH:
            raise ValueError("a Mixer remembers the batch before, an AttentionMixer does not: give partners='random'")

    @untraced
    def forward(
        self, batch: Tensor, labels: Any, *, generator: torch.Generator | None = None, samples: Any = None
    ) -> tuple[Any, Any]:
        """Mix a batch, run the model, and return its output and the targets; arguments as for `Mixer`.

        In eval mode, its own or the model's, nothing is mixed.

        Raises:
            ValueError: a batch of another domain than grids', or tokens that are no patches of it.
        """
        draws.check_generator(generator)
        mixer, model = self.mixer, unwrap(self.model)
        elements, read = mixer.read(batch, labels)
        if not (self.training and model.training):
            mixer.forget_clean_loss()
            plan = MixPlan.identity(len(batch), batch.device)
            return run_model(self.model, batch, read, self._forward_of_model), mixer.targets(plan, read)
        plan = mixer.plan(batch, labels, generator=generator, samples=samples)
        with ClassAttention(self.model, self.layer) as attention:
            mixed = mixer.watch(mixer.domain.mix(plan, elements, batch), plan, elements, samples)
            output = run_model(self.model, mixed, read, self._forward_of_model)
        return output, mixer.targets(weigh_by_patches(plan, attention.tokens, elements.grid, self.share), read)

    def _attended(self, batch: Tensor) -> Tensor:
        """(B, N) what the class token attends to of a batch; of a patch, at each of its cells."""
        grid = self.mixer.domain.elements(batch).grid
        with frozen(unwrap(self.model)), ClassAttention(self.model, self.layer) as attention:
            run_model(unwrap(self.model), batch, None, self._forward_of_model)
        patches, seen = _of_patches(attention.tokens, grid)
        for axis, (few, side) in enumerate(zip(patches, grid or (), strict=True), start=1):
            seen = seen.index_select(axis, (torch.arange(side) * few // side).to(seen.device))
        return seen.flatten(1)

    def extra_repr(self) -> str:
        """What ``print(mixer)`` says."""
        return f"{type(unwrap(self.model)).__name__}, layer={self.layer!r}, share={self.share},\n  {self.mixer!r}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def weigh_by_patches(plan: MixPlan, tokens: Tensor, grid: tuple[int, ...] | None, share: float = 1.0) -> MixPlan:
    """The plan whose labels weigh what a class token attends to of them (`AttentionMixer`).

    Args:
        plan: the mixed batch's.
        tokens: (M, T) the attention of the mixed batch's tokens, patches last.
        grid: the sides of the batch's grid.
        share: how much of a label's weight is attention's. Default 1.

    Raises:
        ValueError: tokens that are no patches of the grid.
    """
    patches, seen = _of_patches(tokens, grid)
    grid = grid or ()
    seen = seen.flatten(1)
    axes = [torch.arange(few) * side // few for few, side in zip(patches, grid, strict=True)]
    place = torch.zeros((), dtype=torch.long)
    for axis, side in zip(axes, grid, strict=True):
        place = place[..., None] * side + axis
    place = place.flatten().to(seen.device)
    weight = plan.weight_at_least_float32.expand(-1, -1, math.prod(grid))
    at_patches = weight[:, :, place] * seen[:, None]
    at_patches = at_patches / at_patches.sum((1, 2), keepdim=True).clamp_min(torch.finfo(seen.dtype).tiny)
    mean = plan.mean_weight()
    if plan.source.shape[2] == 1:
        label = at_patches.sum(2, keepdim=True)
    else:
        label = torch.zeros_like(weight).index_copy(2, place, at_patches)
    return replace(plan, label_weight=share * label + (1 - share) * mean)


def _of_patches(tokens: Tensor, grid: tuple[int, ...] | None) -> tuple[tuple[int, ...], Tensor]:
    """The sides of the grid of patches, and of tokens (M, T) those of patches, (M, ...) in these sides."""
    if not grid:
        raise ValueError("attention is that of the patches of a grid, and these elements have none")
    patches = patch_tokens(tokens.shape[1] - 1, grid)  # the first is the class token
    if patches is None or not (count := math.prod(patches)):
        raise ValueError(f"{tokens.shape[1]} tokens are no class token and patches of a grid of {grid}")
    return patches, tokens[:, -count:].unflatten(1, patches)


def _is_attention(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return module.batch_first and module.in_proj_weight is not None
    if not isinstance(getattr(module, "qkv", None), nn.Module) or not hasattr(module, "num_heads"):
        return False
    return "rope" not in inspect.signature(module.forward).parameters  # which turns what comes out of qkv


def _attend(query: Tensor, key: Tensor) -> Tensor:
    """(B, T) the mean over the heads of the attention of one query (B, H, 1, d) to keys (B, H, T, d)."""
    with torch.autocast(query.device.type, enabled=False):
        logits = query.float() @ key.float().mT / key.shape[-1] ** 0.5
        return logits.softmax(-1).mean(1)[:, 0]


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
