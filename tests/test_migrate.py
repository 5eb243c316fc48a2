"""What the pages in docs/migrate say of names, and of MONAI where it is installed; timm and torchvision have tests of
their own (`tests/image/test_timm.py`, `tests/test_cutting.py`).
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mixkit
import mixkit_image
from mixkit import functional
from mixkit.registry import accepted, get_domain, get_method

PAGES = Path(__file__).resolve().parents[1] / "docs" / "migrate"


def calls() -> list[tuple[str, str, str]]:
    """What the tables name: the page, the class or function, and its arguments."""
    found = []
    for page in sorted(PAGES.glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("|"):
                found += [(page.stem, *call) for call in re.findall(r"`(create_mixer|\w+Mixer)\(([^`]*)\)`", line)]
    return found


@pytest.mark.parametrize(("page", "maker", "given"), calls())
def test_methods_and_options_of_the_tables_are_there(page: str, maker: str, given: str) -> None:
    if given == "...":
        return
    names = re.findall(r'(?<![=\w])"(\w+)"', given)  # by place: a method, or after it a domain
    method = names[0]
    known = (
        set(accepted(get_method(method))) | set(accepted(get_domain("points"))) | set(accepted(get_domain("volume")))
    )
    known |= set(inspect.signature(mixkit.create_mixer).parameters)
    if maker != "create_mixer":
        known |= set(inspect.signature(getattr(mixkit, maker)).parameters)
    assert set(re.findall(r"(\w+)=", given)) <= known


def test_there_are_tables() -> None:
    assert len({page for page, *_ in calls()}) >= 3
    assert len(calls()) > 15


def test_timms_arguments_are_those_of_the_page() -> None:
    timm = pytest.importorskip("timm.data")
    theirs = set(inspect.signature(timm.Mixup).parameters)
    assert theirs <= set(inspect.signature(mixkit_image.TimmMixup).parameters)
    page = (PAGES / "timm.md").read_text(encoding="utf-8")
    assert not [name for name in theirs if f"`{name}" not in page]


@pytest.mark.parametrize("transform", ["MixUp", "CutMix"])
def test_defaults_of_torchvision(transform: str) -> None:
    from torchvision.transforms import v2

    theirs = inspect.signature(getattr(v2, transform)).parameters
    ours = inspect.signature(getattr(mixkit_image, {"MixUp": "Mixup"}.get(transform, transform))).parameters
    assert {name: theirs[name].default for name in theirs} == {name: ours[name].default for name in theirs}


# ---- MONAI


VOLUMES, LABELS = torch.rand(4, 1, 6, 8, 5), torch.arange(4)


def of_monai(name: str) -> tuple[Any, tuple[Tensor, np.ndarray, list[Tensor]], Tensor]:
    """A transform, what it drew, and what it made of the volumes."""
    mix = getattr(pytest.importorskip("monai.transforms"), name)(batch_size=4, alpha=1.0)
    mix.set_random_state(3)
    mixed = mix(VOLUMES)
    return mix, mix._params, torch.as_tensor(mixed)


def test_mixup_is_monais_given_the_same_draws() -> None:
    _, (ratio, partner, _), mixed = of_monai("MixUp")
    plan = functional.mixup(torch.from_numpy(partner), ratio)
    torch.testing.assert_close(plan.apply(VOLUMES.flatten(2).mT).mT.unflatten(2, (6, 8, 5)), mixed)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_cutmix_is_monais_given_the_same_draws() -> None:
    mix, (ratio, partner, corner), mixed = of_monai("CutMix")
    sides = torch.tensor([6.0, 8.0, 5.0])
    start = torch.cat(corner).float()
    length = torch.minimum((start + sides * (1 - ratio[:, None]).sqrt()).ceil(), sides) - start
    centre, half = (start - 0.5 + length / 2).flip(1), (length / 2).flip(1)  # coordinates run the other way
    elements = get_domain("volume")().elements(VOLUMES)
    plan = functional.cutmix(elements.coords, torch.from_numpy(partner), None, centre, half)
    assert torch.equal(get_domain("volume")().mix(plan, elements, VOLUMES), mixed)
    # labels of samples come back as the partner's, whatever is cut
    _, labels = mix(VOLUMES, torch.eye(4), randomize=False)
    assert torch.equal(labels, torch.eye(4)[partner])
    with pytest.raises(ValueError, match="Unexpected number of dimensions"):
        of_monai("MixUp")[0](VOLUMES, torch.eye(4))
