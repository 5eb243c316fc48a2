"""The log says what is compiled, and `warm_up` compiles all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import mixkit

COMPILED = [
    "mixkit.assignment.cpu_order",
    "mixkit.assignment.cpu_auction",
    "mixkit.assignment.cpu_paths",
    "mixkit.assignment.cpu_swaps",
    "mixkit.assignment.cpu_small",
    "mixkit.smooth_cpu",
    "mixkit_image.solvers.mincut",
    "mixkit_image.solvers.groups_cpu",
    "mixkit_image.solvers.transport_cpu",
]


def test_the_log_says_what_is_compiled_once() -> None:
    code = (
        "import logging, torch, mixkit\nlogging.basicConfig(level={})\n"
        "for _ in range(2): mixkit.assign(torch.rand(1, 8, 3), torch.rand(1, 8, 3))"
    )
    said = {
        level: subprocess.run([sys.executable, "-c", code.format(level)], capture_output=True, text=True, check=True)
        for level in ("logging.INFO", "logging.WARNING")
    }
    assert said["logging.INFO"].stderr.count("INFO:mixkit:numba compiles the assignment of points") == 1
    assert "mixkit.warm_up()" in said["logging.INFO"].stderr
    assert said["logging.WARNING"].stderr == ""
    assert not any(done.stdout for done in said.values())


@pytest.mark.slow
def test_what_is_warm_compiles_no_more() -> None:
    def kinds() -> dict[str, int]:
        """How many kinds of arguments each function is compiled for."""
        return {
            f"{name}.{key}": len(value.signatures)
            for name in COMPILED
            for key, value in vars(sys.modules[name]).items()
            if hasattr(value, "signatures")
        }

    state = torch.get_rng_state()
    mixkit.warm_up()
    assert torch.equal(state, torch.get_rng_state())
    before = kinds()
    assert len(before) > 20
    for size in (5, 64, 1024):
        for tolerance in (0.05, 0.01, 0):
            for other in (size, size + 3):
                mixkit.assign(torch.rand(2, size, 2), torch.rand(2, other, 2), tolerance=tolerance)
    mixkit.assign(torch.rand(2, 64, 3).double(), torch.rand(2, 3, 64).double().mT)
    for method in ("puzzlemix", "comixup"):
        mixer = mixkit.create_mixer(method, "image", num_classes=20, saliency="spectral_residual", p=1.0)
        mixer(torch.rand(20, 3, 64, 48), torch.arange(20))
    assert kinds() == before
