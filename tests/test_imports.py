"""What importing mixkit brings along: torch and NumPy, and nothing that only some users need."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mixkit

HEAVY = ("numba", "scipy", "torchvision", "timm", "triton", "lightning", "matplotlib", "torch._dynamo")


def loaded_after(code: str) -> set[str]:
    """Which of `HEAVY` a fresh process has loaded once it has run the code, beyond what torch itself loads."""
    script = f"import sys, torch\nbefore = set(sys.modules)\n{code}\nprint(*set({HEAVY}) & set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code", ["import mixkit", "import mixkit_image", "import mixkit_points", "import mixkit; dir(mixkit)"]
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == set()


@pytest.mark.parametrize("domain", ["image", "points"])
def test_making_a_mixer_loads_nothing_heavy(domain: str) -> None:
    code = f"import mixkit; mixkit.create_mixer('mixup', domain={domain!r}, num_classes=3); mixkit.list_methods()"
    assert loaded_after(code) == set()


def test_each_library_comes_with_what_needs_it() -> None:
    points = "import torch, mixkit; mixkit.assign(torch.rand(1, 8, 3), torch.rand(1, 8, 3))"
    assert {"numba"} <= loaded_after(points)
    assert not {"torchvision", "timm", "triton"} & loaded_after(points)
    transform = loaded_after("import mixkit_image; mixkit_image.SageMix")
    assert "torchvision" in transform
    assert not {"timm", "numba"} & transform


def test_the_transforms_are_there_before_they_are_imported() -> None:
    import mixkit_image

    assert set(mixkit_image.__all__) <= set(dir(mixkit_image))
    assert all(getattr(mixkit_image, name) for name in mixkit_image.__all__)
    with pytest.raises(AttributeError, match="module 'mixkit_image' has no attribute 'SageMux'"):
        mixkit_image.SageMux  # noqa: B018


def test_version() -> None:
    import importlib.metadata

    assert mixkit.__version__ == importlib.metadata.version("mixkit")
