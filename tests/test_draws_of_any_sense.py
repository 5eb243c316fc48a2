"""Pure functions, solvers and methods given draws and options of any sense: a valid plan, or our own refusal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

import mixkit
import mixkit_image
from mixkit import MixPlan, functional
from mixkit.registry import get_domain, get_method
from mixkit_image.solvers.groups import solve_groups
from mixkit_image.solvers.mask import solve_mask
from mixkit_image.solvers.transport import transport
from tests.refusals import is_our_own

EXAMPLES = 30  # of a test; each run of the tests tries others
EXTREMES = [0, 1, 2, 3, -1, 9, 0.2, 0.5, -0.5, 1e-9, 1e-300, 1e9, 1e30, 1e150, 1e300, math.nan, math.inf, -math.inf]
WORDS = [True, False, None, "auto", "uniform", "max", "", (), (0.2, 0.3, 0.4), [1.0], 1 + 1j]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns; None where it says in our own words that it will not."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        if not is_our_own(error.__traceback__):
            raise AssertionError("an error from inside, not our own") from error
        return None


def spoilt(tensor: Tensor, data: st.DataObject) -> Any:
    """The tensor, with one number, its shape, its type or all of it replaced."""
    kind = data.draw(st.sampled_from(["number", "number", "number", "shape", "dtype", "turned", "other"]))
    if kind == "number" and tensor.numel():
        changed = tensor.clone()
        values = [-1, 7, 10**9, -(10**18)] if not tensor.is_floating_point() else [*EXTREMES, 3e38, 1e19]
        at = data.draw(st.integers(0, tensor.numel() - 1))
        changed.view(-1)[at] = torch.tensor(data.draw(st.sampled_from(values)), dtype=torch.float64).to(tensor.dtype)
        return changed
    if kind == "shape":
        return data.draw(st.sampled_from([tensor[:-1], tensor[..., :-1], tensor[None], tensor.flatten(), tensor[:0]]))
    if kind == "dtype":
        dtypes = [torch.int32, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.float64, torch.complex64]
        return tensor.to(data.draw(st.sampled_from(dtypes)))
    if kind == "turned":  # another memory layout of the same numbers
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    return data.draw(st.sampled_from([None, 3, "a", [1, 2], tensor.tolist(), torch.zeros(())]))


def clouds(size: int, count: int) -> dict[str, Tensor]:
    long = lambda most, *shape: torch.randint(most, shape)  # noqa: E731
    return {
        "coords": torch.randn(size, count, 3),
        "partner": torch.randperm(size),
        "assignment": torch.stack([torch.randperm(count) for _ in range(size)]),
        "query": long(count, size),
        "partner_query": long(count, size),
        "prior": torch.rand(size),
        "ratio": torch.rand(size),
        "radius": torch.rand(1),
        "keys": torch.rand(size, count),
        "count": long(count + 1, size),
        "box": torch.rand(1, 3),
    }


def of_elements(name: str, size: int, count: int) -> dict[str, Any]:
    """Good arguments of a function of `mixkit.functional`."""
    c = clouds(size, count)
    both = {"partner": c["partner"], "assignment": c["assignment"]}
    cut = {"coords": c["coords"], **both, "centre": c["box"], "half": c["box"]}
    mix = {"partner": c["partner"], "ratio": c["ratio"], "assignment": c["assignment"]}
    long = lambda most, *shape: torch.randint(most, shape)  # noqa: E731
    start = long(count, size, 1)
    queries = {"query": c["query"], "partner_query": c["partner_query"]}
    return {
        "cutmix": cut,
        "saliencymix": cut,
        "guidedmixup": {**both, "saliency": torch.rand(size, count)},
        "fmix": {**both, "field": c["keys"], "count": c["count"]},
        "smoothmix": {"coords": c["coords"], **both, "centre": c["box"], "sigma": c["radius"]},
        "resizemix": {"grid": (count,), "partner": c["partner"], "start": start, "size": count - start},
        "resizemix_set": {
            "coords": c["coords"], "partner": c["partner"], "centre": c["query"], "scale": c["radius"],
            "count": c["count"], "keys": c["keys"],
        },
        "snapmix": {
            "grid": (count,), "partner": c["partner"], "start": start, "size": count - start,
            "partner_start": start, "partner_size": count - start, "importance": c["keys"],
        },
        "attentivemix": {**both, "saliency": c["keys"], "cell": long(3, size, count), "share": 0.3},
        "gridmix": {**both, "cell": long(count, size, count), "keys": c["keys"], "count": c["count"]},
        "saliencygrafting": {
            **both, "saliency": c["keys"], "cell": long(count, size, count), "uniform": torch.rand(size, count),
            "rate": 0.5, "threshold": 1.0,
        },
        "smmix": {"grid": (count,), "partner": c["partner"], "saliency": c["keys"], "size": (count,), "step": (1,)},
        "remix": {**mix, "counts": c["prior"], "kappa": 3.0, "tau": 0.5},
        "pointwolf": {
            "coords": c["coords"], "start": c["prior"], "angle": torch.randn(size, 2, 3),
            "scale": torch.rand(size, 2, 3) + 0.5, "shift": torch.randn(size, 2, 3),
            "axes": torch.rand(size, 3).round(), "sigma": 0.5,
        },
        "mixup": mix,
        "pointmixup": mix,
        "pointcutmix_r": {**both, "keys": c["keys"], "count": c["count"]},
        "pointcutmix_k": {"coords": c["coords"], **both, "centre": c["query"], "count": c["count"]},
        "sagemix": {"coords": c["coords"], **both, **queries, "prior": c["prior"], "sigma": 0.3, "log_ratio": False},
        "rsmix": {
            "coords": c["coords"], "partner": c["partner"], "centre": c["query"], "partner_centre": c["partner_query"],
            "radius": c["radius"], "keys": c["keys"], "knn": False,
        },
    }[name]  # fmt: skip


def of_grid(name: str, size: int, cells: int) -> dict[str, Any]:
    """Good arguments of a function of `mixkit_image.functional`."""
    grid = (8, 4)
    saliency, four = torch.rand(size, 32), min(cells, 4)
    if name == "puzzlemix":
        given = {"values": torch.rand(size, 32, 3), "partner": torch.randperm(size), "ratio": torch.rand(1)}
        options = {
            "beta": 1.2,
            "gamma": 0.5,
            "eta": 0.2,
            "transport": True,
            "t_eps": 0.8,
            "block": 2,
            "std": (0.2, 0.2, 0.2),
        }
        return {**given, "grid": grid, "saliency": saliency, "cells": four, **options}
    draws = {"log_prior": torch.randn(size), "initial": torch.randint(min(size, 2), (size, cells * four))}
    draws["initial"][size // 2 * 2 :] = 0
    options = {
        "cells": cells,
        "group": 2,
        "beta": 0.3,
        "gamma": 1.0,
        "eta": 0.05,
        "tau": 0.8,
        "omega": 0.1,
        "sweeps": 2,
    }
    return {"saliency": saliency, "grid": grid, **draws, **options}


def mutate(arguments: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """Some of the arguments made worse."""
    changed = dict(arguments)
    for name in data.draw(st.lists(st.sampled_from(sorted(arguments)), min_size=1, max_size=2, unique=True)):
        value = arguments[name]
        if isinstance(value, Tensor):
            changed[name] = spoilt(value, data)
        else:
            changed[name] = data.draw(st.sampled_from([*EXTREMES, *WORDS, (8, 4), (0, 4), (8,), "ab"]))
    return changed


def assert_valid(plan: MixPlan, sums: bool = True) -> None:
    plan.validate()
    assert plan.weight.isfinite().all()
    targets = plan.targets(torch.arange(plan.num_samples), plan.num_samples)
    if sums:  # as labels do, but for SnapMix's
        torch.testing.assert_close(targets.sum(1), torch.ones(plan.num_outputs))
    assert (targets >= 0).all()
    assert (targets.sum(1) <= 2 + 1e-5).all()


@pytest.mark.parametrize("name", functional.__all__)
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_functions_of_elements(name: str, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    size, count = data.draw(st.sampled_from([(1, 1), (2, 3), (3, 8)]))
    arguments = mutate(of_elements(name, size, count), data)
    plan = outcome(lambda: getattr(functional, name)(**arguments))
    if isinstance(plan, Tensor):  # pointwolf gives coordinates
        assert plan.isfinite().all()
    elif plan is not None:
        assert_valid(plan, sums=name != "snapmix")


@pytest.mark.parametrize("name", mixkit_image.functional.__all__)
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_functions_of_grids(name: str, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    size, cells = data.draw(st.sampled_from([(1, 1), (2, 2), (5, 4), (3, 3)]))
    arguments = mutate(of_grid(name, size, cells), data)
    plan = outcome(lambda: getattr(mixkit_image.functional, name)(**arguments))
    if plan is not None:
        assert_valid(plan)


SOLVERS: dict[str, Callable[[], dict[str, Any]]] = {
    "mask": lambda: {"unary": torch.rand(2, 3, 3, 2), "down": torch.rand(2, 2, 2), "right": torch.rand(2, 3, 1)},
    "transport": lambda: {"saliency": torch.rand(2, 3, 2), "covered": torch.rand(2, 3, 2) > 0.5, "t_eps": 0.8},
    "groups": lambda: {
        "unary": torch.rand(2, 3, 6), "compatibility": torch.rand(2, 3, 3), "shape": (3, 2), "weights": (0.1, 0.1, 1.0),
        "label": torch.randint(3, (2, 3, 6)), "sweeps": 2,
    },
}  # fmt: skip
RUN: dict[str, Callable[..., Tensor]] = {"mask": solve_mask, "transport": transport, "groups": solve_groups}


@pytest.mark.parametrize("name", SOLVERS)
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_compiled_solvers(name: str, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    arguments = mutate(SOLVERS[name](), data)
    found = outcome(lambda: RUN[name](**arguments))
    if found is None:
        return
    most = {"mask": 3, "transport": 6, "groups": 3}[name]
    assert not found.numel() or (found.min() >= 0 and found.max() < most)
    if name == "transport" and found.numel():
        assert torch.equal(found.sort(1).values, torch.arange(found.shape[1]).expand_as(found)), "a permutation"


METHODS = [(domain, name) for domain in ("image", "points") for name in mixkit.list_methods(domain)]


@pytest.mark.parametrize(("domain", "name"), METHODS, ids=[f"{name}-{domain}" for domain, name in METHODS])
@given(data=st.data())
@settings(max_examples=EXAMPLES // 2, deadline=None)
def test_options_of_methods(domain: str, name: str, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    method_class = get_method(name, domain)
    options = {
        option: data.draw(st.sampled_from([*EXTREMES, *WORDS]))
        for option in inspect.signature(method_class).parameters
        if data.draw(st.integers(0, 2)) == 0
    }
    method = outcome(lambda: method_class(**options))
    if method is None:
        return
    batch = torch.randn(3, 3, 8, 4) if domain == "image" else torch.randn(3, 12, 4)
    find = lambda b: torch.rand(3, b[0].numel() // 3)  # noqa: E731
    mixer = mixkit.Mixer(method, get_domain(domain)(), num_classes=3, p=1.0, inside=method.for_layers, saliency=find)
    saliency = torch.rand(3, 32 if domain == "image" else 12)
    mixed, targets = outcome(lambda: mixer(batch, torch.arange(3), saliency=saliency)) or (None, None)
    if mixed is not None:
        assert mixed.isfinite().all()
        if name != "snapmix":
            torch.testing.assert_close(targets.sum(1), torch.ones(3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eta": math.inf}, ValueError, r"eta must be >= 0 and below 1e\+30, got inf"),
        ({"eta": 1e150}, ValueError, r"eta must be >= 0 and below 1e\+30, got 1e\+150"),
        ({"alpha": math.inf}, ValueError, "alpha must be > 0 and below"),
        ({"beta": math.inf}, ValueError, "beta must be >= 0 and below"),
        ({"group": math.inf}, TypeError, "group must be a whole number, got inf"),
        ({"cells": 2.5}, TypeError, "cells must be a whole number, got 2.5"),
    ],
)
def test_options_out_of_any_sense_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mixkit.create_mixer("comixup", "image", num_classes=3, saliency="spectral_residual", **options)


def test_draws_out_of_any_sense_are_named() -> None:
    swap = torch.tensor([1, 0])
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\], got 2 to 2"):
        functional.mixup(swap, torch.tensor([2.0]))
    with pytest.raises(TypeError, match="ratio must be a tensor, got int"):
        functional.mixup(swap, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"partner must lie in \[0, 2\), got 0 to 2"):
        functional.mixup(torch.tensor([0, 2]), torch.tensor([0.5]))
    good = of_grid("puzzlemix", 2, 2)
    with pytest.raises(ValueError, match="t_eps must be a number, got nan"):
        mixkit_image.functional.puzzlemix(**{**good, "t_eps": math.nan})
    good = of_grid("comixup", 4, 2)
    good["initial"][0, 0] = 5
    with pytest.raises(ValueError, match=r"initial must lie in \[0, 2\), got 0 to 5"):
        mixkit_image.functional.comixup(**good)
