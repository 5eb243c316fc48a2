"""The counterpart of timm's FastCollateMixup, which timm's loaders know as their own."""

from __future__ import annotations

from mixkit_image.timm import TimmMixup

try:
    from timm.data import FastCollateMixup
except ImportError as error:
    raise ImportError("TimmFastCollate needs timm: pip install 'mixkit[timm]'") from error


class TimmFastCollate(TimmMixup, FastCollateMixup):
    """`TimmMixup` as a collate function: ``timm.data.create_loader(..., collate_fn=TimmFastCollate(...))``.

    It collates uint8 images (C, H, W) and mixes them in the loader, before timm's prefetcher normalises them. timm's
    loader takes it for its own, so that ``loader.mixup_enabled = False`` switches mixing off; workers that persist keep
    the copy that they began with, as they do of timm's own. Arguments are those of `TimmMixup`.
    """
