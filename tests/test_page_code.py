"""The Python of the site's pages runs as it stands there: `docs/start`, `guide`, `migrate` and `choose.md`.

A page's blocks run from top to bottom. A newcomer to `docs/start` has nothing but a clone. On other pages, what the
page's reader has at hand (`tests/page_readers.py`), a model, a loader, an optimiser, is new before each block.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mixkit
from mixkit import registry
from tests.page_readers import reader

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [page for name in ("start/*.md", "guide/*.md", "migrate/*.md", "choose.md") for page in DOCS.glob(name)]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.S | re.M)
CODE = {str(p.relative_to(DOCS)): found for p in sorted(PAGES) if (found := BLOCK.findall(p.read_text("utf-8")))}
#: What in a block asks for a package that is no dependency of the library.
PACKAGES = {
    "accelerator": "accelerate", "batch.y": "torch_geometric", "L.": "lightning", "lightning": "lightning",
    "plt": "matplotlib", "accuracy.": "torchmetrics", "torchmetrics": "torchmetrics",
    "from monai": "monai", "from timm": "timm",
}  # fmt: skip
#: What takes minutes on a page and may be done in a second here.
SHORTER = {
    "epochs, size = 20, 64": "epochs, size = 1, 16",
    "num_workers=4": "num_workers=0",
    "torch.compile(model)": "torch.compile(model, backend='eager')",
}
ELSEWHERE = "class MixTrainer("  # tests/test_training.py trains with it


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pages register domains and methods and write pictures: none of it outlasts a test."""
    mixkit.list_domains()  # which loads the plugins
    for table in ("_domains", "_methods"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", CODE)
@pytest.mark.filterwarnings("ignore:.*(device_type of 'cuda'|CUDA is not available):UserWarning")
def test_page(page: str) -> None:
    about: dict[str, Any] = {"__name__": "page"}
    missing: set[str] = set()
    for place, code in enumerate(CODE[page]):
        wanted = {package for sign, package in PACKAGES.items() if sign in code}
        absent = {package for package in wanted if importlib.util.find_spec(package) is None}
        missing |= absent
        if absent or ELSEWHERE in code:
            continue
        if not page.startswith("start/"):
            about |= reader(page, code)
        before = [parameter.clone() for parameter in about["model"].parameters()] if "optimizer" in about else []
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        exec(compile(code, f"docs/{page}, block {place}", "exec"), about)
        if re.search(r"(optimizer|scaler)\.step\(", code):
            assert not before or any(
                not torch.equal(*pair) for pair in zip(before, about["model"].parameters(), strict=True)
            )
        check(about, code)
    if missing:
        pytest.skip(f"all but the blocks that need {', '.join(sorted(missing))}")


def check(about: dict[str, Any], code: str) -> None:
    """What a block leaves is mixed as a mixer mixes."""
    mixed, targets = about.get("mixed"), about.get("targets")
    if isinstance(mixed, Tensor) and mixed.is_floating_point():
        assert mixed.isfinite().all()
    if isinstance(targets, Tensor) and targets.is_floating_point() and targets.dim() == 2 and targets.shape[1] > 1:
        assert targets.min() >= 0
        assert targets.sum(1).max() < 1 + 1e-5
    if isinstance(loader := about.get("loader"), DataLoader) and "collate_fn=mixer.collate" in code:
        batch, shares = next(iter(loader))
        torch.testing.assert_close(shares.sum(1), torch.ones(len(batch)))
    if "class Classifier" in code:
        module = about["Classifier"](nn.Sequential(nn.Flatten(), nn.Linear(64 * 3, 40)))
        module.training_step((torch.randn(4, 64, 3), torch.arange(4)), 0).backward()
        assert not [name for name in module.state_dict() if name.startswith("mixer")]


def test_there_are_pages() -> None:
    assert {"start/first_batch.md", "start/own_data.md", "guide/training.md", "guide/labels.md"} <= CODE.keys()
    assert sum(map(len, CODE.values())) >= 55
    assert sum(ELSEWHERE in code for code in CODE["guide/training.md"]) == 1


def test_the_two_commands_are_those_of_the_readme() -> None:
    shell = re.compile(r"^```bash\n(.*?)^```", flags=re.S | re.M)
    commands = shell.findall((ROOT / "README.md").read_text("utf-8"))
    assert len(commands) == 2
    assert set(commands) <= set(shell.findall((DOCS / "start" / "install.md").read_text("utf-8")))
