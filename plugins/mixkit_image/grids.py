"""The other grids: sequences, spectrograms, volumes and videos; what they share is `mixkit.Grid`."""

from __future__ import annotations

from typing import ClassVar

from mixkit import Grid, register_domain


@register_domain("sequence")
class SequenceGrid(Grid):
    """Sequences (B, C, T): audio, sensors, embeddings of text; or (B, T, C) with ``layout="btc"``.

    An element is a time step, its coordinate the time. See `mixkit.Grid` for ``spacing`` and ``layout``.

    Example:
        >>> import mixkit, torch
        >>> mixer = mixkit.create_mixer("mixup", domain="sequence", num_classes=2, layout="btc")
        >>> mixed, targets = mixer(torch.randn(4, 100, 16), torch.tensor([0, 1, 0, 1]))
        >>> mixed.shape
        torch.Size([4, 100, 16])
    """

    layouts: ClassVar = ("bct", "btc")
    noun: ClassVar = "sequences"


@register_domain("spectrogram")
class SpectrogramGrid(Grid):
    """Spectrograms (B, C, F, T), frequency by time; or (B, C, T, F) with ``layout="bctf"``.

    An element is a bin, its coordinates are (time, frequency). With ``bands=True`` a CutMix box is a band of all times
    or of all frequencies. See `mixkit.Grid` for ``spacing`` and ``layout``.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("cutmix", domain="spectrogram", num_classes=2, bands=True)
        >>> mixer(torch.randn(4, 1, 32, 50), torch.tensor([0, 1, 0, 1]))[0].shape
        torch.Size([4, 1, 32, 50])
    """

    layouts: ClassVar = ("bcft", "bctf")
    noun: ClassVar = "spectrograms"


@register_domain("volume")
class VolumeGrid(Grid):
    """Volumes (B, C, D, H, W), such as scans of a body, whose slices may lie further apart than their pixels.

    An element is a voxel, its coordinates are (column, row, slice). ``layout="bdhwc"`` takes channels last; contiguous
    and channels_last_3d memory is kept. See `mixkit.Grid` for ``spacing``.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("smoothmix", domain="volume", num_classes=2, spacing=(5.0, 0.7, 0.7))
        >>> mixer(torch.randn(4, 1, 6, 16, 16), torch.tensor([0, 1, 0, 1]))[0].shape
        torch.Size([4, 1, 6, 16, 16])
    """

    layouts: ClassVar = ("bcdhw", "bdhwc")
    noun: ClassVar = "volumes"


@register_domain("video")
class VideoGrid(Grid):
    """Videos (B, C, T, H, W), mixed in space and time; or (B, T, C, H, W) with ``layout="btchw"``.

    An element is a pixel of a frame, its coordinates are (column, row, time). Where ``spacing`` is None frames lie so
    far apart that a clip is as long as the shorter side of its frames. To mix all frames alike, take the domain "image"
    with ``frames=True``.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("mixup", domain="video", num_classes=2, layout="btchw")
        >>> mixer(torch.randn(4, 5, 3, 16, 16), torch.tensor([0, 1, 0, 1]))[0].shape
        torch.Size([4, 5, 3, 16, 16])
    """

    layouts: ClassVar = ("bcthw", "btchw")
    noun: ClassVar = "videos"

    def default_spacing(self, sides: tuple[int, ...]) -> tuple[float, ...]:
        """See `Grid.default_spacing`."""
        frames, height, width = sides
        return (min(height, width) / frames, 1, 1)
