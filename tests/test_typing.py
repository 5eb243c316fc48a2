"""What a type checker in strict mode knows of the calls that users write."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SNIPPET = """\
import torch
import mixkit
import mixkit_image

images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
mixer = mixkit.create_mixer("cutmix", "image", num_classes=5, alpha=1.0)
reveal_type(mixer(images, labels))  # note: tuple[Tensor, Any]
reveal_type(mixer.plan(images, labels))  # note: MixPlan
mixer(images)  # error: Missing positional argument "labels"
mixer(images, labels, generater=None)  # error: Unexpected keyword argument "generater"
mixer(images, labels, generator=3)  # error: has incompatible type "int"; expected "Generator | None"
mixkit.create_mixer("mixup", "image", num_classes="4")  # error: "num_classes"
mixkit.create_mixer("mixup", "image", p="1")  # error: "p"
mixkit.create_mixer("mixup", 3)  # error: "create_mixer"
mixkit.create_mixer("mixup", "points", num_classes=(5, None))
mixkit.create_mixer("mixup", "points", num_classes={"category": 5, "angle": None})
manifold = mixkit.ManifoldMixer(torch.nn.Linear(2, 2), ["input"], "mixup", "image", num_classes=5)
reveal_type(manifold(images, labels))  # note: tuple[Any, Any]
manifold(images)  # error: Missing positional argument "labels"
transform = mixkit_image.SageMix(num_classes=5)
reveal_type(transform(images, labels))  # note: tuple[Tensor, Tensor]
reveal_type(transform({"images": images, "labels": labels}))  # note: dict[str, Tensor]
reveal_type(transform(images, labels, "name"))  # note: tuple[Any, ...]
mixkit.methods.SageMix(thete=0.3)  # error: Unexpected keyword argument "thete"
mixkit_image.TimmMixup(mixup_alpha=1.0, swich_prob=0.3)  # error: Unexpected keyword argument "swich_prob"
mixkit.create_mixer("mixup", "points", partners=3)  # error: "partners"
reveal_type(mixkit.assign(images[0], images[0]).cost)  # note: Tensor
reveal_type(mixkit.hard_targets(images))  # note: Tensor
"""


@pytest.mark.slow
def test_mypy_strict_knows_the_calls(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET, encoding="utf-8")
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(snippet)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"},
    )
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        if said := re.match(r"\S*snippet\.py:(\d+): (.*)", line):
            found.setdefault(int(said[1]), []).append(said[2])
    for number, line in enumerate(SNIPPET.splitlines(), 1):
        kind, _, words = line.partition("  # ")[2].partition(": ")
        said = " ".join(found.get(number, [])).replace("torch._tensor.", "").replace("mixkit.plan.", "")
        if kind:
            assert f"{kind}: " in said, (line, said, done.stdout)
            assert words in said, (line, said)
        else:
            assert not said, (line, said)
