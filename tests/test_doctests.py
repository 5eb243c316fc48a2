"""The examples in the docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch


@pytest.mark.parametrize(
    "name", ["plan", "factory", "labels", "losses", "functional.sagemix", "manifold", "schedule", "adaptive", "collate"]
)
def test_examples(name: str) -> None:
    run(f"mixkit.{name}")


@pytest.mark.parametrize("name", ["timm", "transforms"])
def test_examples_of_images(name: str) -> None:
    run(f"mixkit_image.{name}")


def run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), extraglobs={"torch": torch})
    assert results.failed == 0
    assert results.attempted > 0
