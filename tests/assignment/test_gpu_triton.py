"""The Triton kernel: run by Triton's interpreter in a process of its own, and compiled for a GPU that may be absent.

The interpreter is an aid for tests: nobody who uses mixkit ever runs it, and who has no GPU does not even import
Triton. So a failure here says which of the two is concerned: the kernel's answer, or Triton's way of running it.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
ROOT = Path(__file__).resolve().parents[2]

NOT_RUN = 3  # the exit code of a kernel that Triton could not run: there is no answer to judge

FENCE = f"""
import os, sys, traceback, triton
def tell(kind, error, trace):
    sys.__excepthook__(kind, error, trace)
    innermost = traceback.extract_tb(trace)[-1].filename
    if kind.__module__.startswith("triton.") or os.path.dirname(triton.__file__) in innermost:
        print("from Triton", triton.__version__, file=sys.stderr, flush=True)
        os._exit({NOT_RUN})
sys.excepthook = tell
"""

MEND = """
# The interpreter of Triton before 3.7 makes an int of an array with one element, which NumPy since 2.4 refuses.
from triton.runtime import interpreter
patch = interpreter._patch_lang_tensor
def mended_patch(tensor, *scope):
    patch(tensor, *scope)
    tensor.__index__ = lambda self: int(self.handle.data.squeeze())
interpreter._patch_lang_tensor = mended_patch
"""

INTERPRET = """
import torch
from mixkit.assignment import triton_auction
from tests.assignment.gpu_cases import CASES, check
import sys
for name, (make, tolerance) in CASES.items():
    try:
        check(triton_auction.solve, *make(int(sys.argv[1])), tolerance, again=name == "not a power of two")
    except AssertionError as error:
        raise SystemExit(f"{name}: {error}")
a, b = torch.rand(1, 9, 3), torch.rand(1, 9, 3)
a[0, 3], a[0, 4, 1], b[0, 5] = torch.nan, torch.inf, -torch.inf
assert sorted(triton_auction.solve(a, b, 0.01)[0][0].tolist()) == list(range(9)), "not finite"
"""

COUNT = """
import torch
from mixkit.assignment import triton_auction
from mixkit.assignment.triton_kernel import MAX_PHASES, ROWS, WINS_PER_POINT
from tests.assignment.gpu_cases import CASES
for name in ("all points equal", "far tight clusters"):
    a, b = CASES[name][0](12)
    n = a.shape[1]
    phases, rounds, bids, steps, scanned = triton_auction.solve_counted(a, b, 0.01)[2].long().T
    most = WINS_PER_POINT.value * n + ROWS.value
    assert (phases <= MAX_PHASES.value).all()
    assert (rounds <= phases * most).all(), name
    assert (bids <= rounds * ROWS.value).all(), name
    assert (scanned <= phases * n * (n + 8)).all(), name
"""

COMPILE = """
import inspect
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mixkit.assignment.triton_kernel import auction
block, dims, warps = map(int, sys.argv[1:])
types = {"rows": "*fp32", "targets": "*fp32", "prices": "*fp32", "floats": "*fp32",
         "matches": "*i32", "integers": "*i32", "counts": "*i32",
         "tolerance": "fp32", "floor": "fp32", "span": "fp32", "n": "i32", "stride": "i32",
         "BLOCK": "constexpr", "D": "constexpr"}
names, values = auction.arg_names, {"BLOCK": block, "D": dims}
if "constexprs" in inspect.signature(ASTSource).parameters:
    constants = {(names.index(name),): value for name, value in values.items()}
    aligned = {(names.index(x),): [["tt.divisibility", 16]] for x in names if types[x][0] == "*" or x == "stride"}
    source = ASTSource(fn=auction, signature={x: types[x] for x in names}, constexprs=constants, attrs=aligned)
else:  # before Triton 3.3
    source = ASTSource(fn=auction, signature={x: types[x] for x in names if x not in values}, constants=values)
options = {"num_warps": warps, "enable_fp_fusion": True}
compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
assert compiled.metadata.shared <= 48 * 1024, compiled.metadata.shared
assert "atom" not in compiled.asm["ptx"]
assert compiled.asm["cubin"]
"""


def _run(code: str, *arguments: str, interpret: bool) -> None:
    """Run code in a process of its own; where that fails, say what is concerned."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "TRITON_INTERPRET": str(int(interpret)),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", FENCE + MEND * interpret + code, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return
    if interpret and done.returncode == NOT_RUN:
        verdict = (
            "Triton's interpreter could not run the kernel. Only tests use the interpreter: results on a CPU are not "
            "concerned, and on a GPU only if test_compiles_for_hopper_without_a_gpu fails as well."
        )
    elif interpret:
        verdict = "The kernel ran and its answer is wrong: `mixkit.assign` on CUDA is concerned."
    else:
        verdict = "The kernel cannot be compiled for a GPU: `mixkit.assign` on CUDA is concerned."
    pytest.fail(f"{verdict}\n{done.stderr[-2000:]}", pytrace=False)


@pytest.mark.parametrize("size", ["11", pytest.param("40", marks=pytest.mark.slow)])
def test_every_kind_of_cloud(size: str) -> None:
    _run(INTERPRET, size, interpret=True)


def test_work_stays_within_the_stated_bound() -> None:
    _run(COUNT, interpret=True)


def test_constants_stand_to_the_right_of_tensors() -> None:
    """``constant * tensor`` is a constant to Triton 3.8's interpreter, and no tensor; the compiler takes either."""
    tree = ast.parse((ROOT / "mixkit/assignment/triton_kernel.py").read_text())
    module = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    constants = {name.id for target in module for name in ast.walk(target) if isinstance(name, ast.Name)}

    def is_constant(node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp):
            return is_constant(node.left) and is_constant(node.right)
        return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in constants)

    assert len(constants) > 10
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and is_constant(node.left) and not isinstance(node.left, ast.Constant):
            assert is_constant(node.right), f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("arguments", [(1024, 3, 8), pytest.param((8192, 12, 16), marks=pytest.mark.slow)])
def test_compiles_for_hopper_without_a_gpu(arguments: tuple[int, int, int]) -> None:
    import triton

    if not list(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*")):
        pytest.skip("this Triton was built without NVIDIA's assembler")
    _run(COMPILE, *map(str, arguments), interpret=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_the_gpu() -> None:
    from mixkit.assignment import triton_auction
    from tests.assignment.gpu_cases import CASES, check

    def solve(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
        index, price = triton_auction.solve(a.cuda(), b.cuda(), tolerance)
        return index.cpu(), price.cpu()

    for make, tolerance in CASES.values():
        check(solve, *make(100), tolerance)


def test_clouds_too_large_for_the_kernel_go_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixkit.assignment import triton_auction

    monkeypatch.setattr(triton_auction, "MAX_POINTS", 10)
    a, b = torch.rand(1, 11, 3), torch.rand(1, 11, 3)
    index, _, counts = triton_auction.solve_counted(a, b, 0.01)
    assert counts is None
    assert sorted(index[0].tolist()) == list(range(11))
