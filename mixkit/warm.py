"""What numba compiles on a machine's first use: said in the log, and done ahead by `warm_up`."""

from __future__ import annotations

import logging

import torch

_LOG = logging.getLogger("mixkit")


def announce(code: str) -> None:
    """Say why the first call takes long, in the log ``mixkit`` at level INFO; a module of compiled code calls it."""
    _LOG.info(
        "numba compiles %s, which takes seconds on a machine's first use, about one from its cache later; "
        "mixkit.warm_up() does it ahead",
        code,
    )


def warm_up() -> None:
    """Compile ahead what numba compiles on first use on the CPU: the assignment, smoothing and image methods' solvers.

    It takes up to a minute, once on a machine: numba keeps the result beside the installed package or in
    ``$NUMBA_CACHE_DIR``. In a shell, when an image is built, say: ``python -c "import mixkit; mixkit.warm_up()"``. No
    random state is touched.

    Example:
        >>> import logging, mixkit
        >>> logging.basicConfig(level=logging.INFO)  # shows what is compiled, and when
        >>> mixkit.warm_up()  # doctest: +SKIP
    """
    from mixkit.assignment import assign
    from mixkit.elements import ElementSet
    from mixkit.factory import create_mixer
    from mixkit.smooth import smooth

    generator = torch.Generator().manual_seed(0)
    clouds = torch.rand(2, 1, 512, 3, generator=generator)
    for tolerance in (0.05, 0.01, 0.0):  # matched groups and swaps may do, the auction, the exact finish
        assign(clouds[0], clouds[1], tolerance=tolerance)
    for size in (20, 21):  # few elements in each set, and as many or not
        assign(clouds[0, :, :20], clouds[1, :, :size])
    smooth(clouds[0, :, :, 0], ElementSet(clouds[0], clouds[0, :, :, :0]), 1.0)
    images, labels = torch.rand(8, 3, 32, 32, generator=generator), torch.arange(8)
    for method in ("puzzlemix", "comixup"):
        mixer = create_mixer(method, "image", num_classes=8, saliency="spectral_residual", p=1.0)
        mixer(images, labels, generator=generator)
