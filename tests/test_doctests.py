"""The examples in the docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name", ["plan", "factory", "labels", "losses", "functional.sagemix", "manifold", "schedule", "adaptive", "collate"]
)
def test_examples(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"mixkit.{name}"))
    assert results.failed == 0
    assert results.attempted > 0
