"""The examples in the docstrings run, and give what they say, in every module that has any."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mixkit
import mixkit_image
import mixkit_points


def modules_with_examples() -> Iterator[str]:
    """The names of the modules whose source has an example; they are not imported for it."""
    for package in (mixkit, mixkit_image, mixkit_points):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            spec = module.module_finder.find_spec(module.name, None)  # type: ignore[call-arg]
            assert spec is not None
            assert spec.origin is not None
            if ">>> " in Path(spec.origin).read_text():
                yield module.name


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixkit.list_methods()  # loads the plugins, so that what is put back has theirs
    for names in ("_domains", "_methods"):  # what an example registers is gone after it
        monkeypatch.setattr(mixkit.registry, names, dict(getattr(mixkit.registry, names)))
    results = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert results.failed == 0
    assert results.attempted > 0
