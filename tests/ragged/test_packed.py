"""`Packed`: the one form of samples of different sizes, from whatever they come as."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mixkit.ragged import Packed

SAMPLES = [torch.arange(6.0).reshape(2, 3), torch.arange(9.0).reshape(3, 3) + 10, torch.arange(3.0).reshape(1, 3) + 50]
ROWS = torch.cat(SAMPLES)


def _padded() -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.full((3, 4, 3), torch.nan)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, [1, 3]] = mask[1, :3] = True  # padding may lie anywhere
    mask[2, 0] = True
    padded[mask] = ROWS
    return padded, mask


@pytest.mark.parametrize(
    "packed",
    [
        Packed.from_list(SAMPLES),
        Packed.from_offset(ROWS, torch.tensor([2, 5, 6])),
        Packed.from_offset(ROWS, torch.tensor([2, 5, 6], dtype=torch.int32)),
        Packed.from_batch(ROWS, torch.tensor([0, 0, 1, 1, 1, 2])),
        Packed.from_batch(ROWS, torch.tensor([0, 0, 1, 1, 1, 2], dtype=torch.int32), num_samples=3),
        Packed.from_padded(*_padded()),
    ],
)
def test_every_way_gives_the_same(packed: Packed) -> None:
    assert torch.equal(packed.rows, ROWS)
    assert packed.offsets.tolist() == [0, 2, 5, 6]
    assert packed.offset.tolist() == [2, 5, 6]
    assert packed.lengths.tolist() == [2, 3, 1]
    assert packed.sample.tolist() == [0, 0, 1, 1, 1, 2]
    assert (len(packed), packed.num_samples, packed.num_rows) == (3, 3, 6)
    for sample, part in zip(SAMPLES, packed.split(), strict=True):
        assert torch.equal(sample, part)
    padded, mask = packed.padded(fill=-1)
    assert padded.shape == (3, 3, 3)
    assert mask.tolist() == [
        [True, True, False],
        [True, True, True],
        [True, False, False],
    ]
    assert torch.equal(padded[mask], ROWS)
    assert bool((padded[~mask] == -1).all())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Packed.from_list([]), ValueError, "at least one sample"),
        (lambda: Packed.from_list([ROWS, ROWS[:, :2]]), ValueError, "sample 1"),
        (lambda: Packed.from_list([ROWS, ROWS.double()]), TypeError, "float64"),
        (lambda: Packed.from_list([ROWS, [1.0]]), TypeError, "list for sample 1"),
        (lambda: Packed.from_list([ROWS, ROWS[:0]]), ValueError, "0 in sample 1"),
        (lambda: Packed.from_offset(ROWS, torch.tensor([2, 5])), ValueError, "0 to 5"),
        (lambda: Packed.from_offset(ROWS, torch.tensor([5, 2, 6])), ValueError, "-3 in sample 1"),
        (lambda: Packed.from_offset(ROWS, torch.tensor([2.0, 6.0])), TypeError, "float32"),
        (lambda: Packed.from_offset(ROWS, torch.tensor([[6]])), ValueError, "one side"),
        (lambda: Packed.from_batch(ROWS, torch.tensor([0, 1, 0, 1, 1, 1])), ValueError, "rising order"),
        (lambda: Packed.from_batch(ROWS, torch.tensor([-1, 0, 0, 1, 1, 1])), ValueError, "from 0"),
        (lambda: Packed.from_batch(ROWS, torch.tensor([0, 0, 2, 2, 2, 2])), ValueError, "0 in sample 1"),
        (lambda: Packed.from_batch(ROWS, torch.tensor([0, 1])), ValueError, r"batch must be \(6,\)"),
        (lambda: Packed.from_padded(ROWS[None], torch.ones(1, 5, dtype=torch.bool)), ValueError, "mask must be"),
        (lambda: Packed.from_padded(ROWS[None], torch.ones(1, 6)), TypeError, "bool"),
        (lambda: Packed.from_padded(ROWS[None], torch.zeros(1, 6, dtype=torch.bool)), ValueError, "0 in sample 0"),
        (lambda: Packed(ROWS, torch.tensor([0, 6], dtype=torch.int32)), TypeError, "int32"),
        (lambda: Packed(ROWS, torch.tensor([1, 6])), ValueError, "got 1 to 6"),
        (lambda: Packed(ROWS, torch.tensor([0])), ValueError, "do not fit together"),
        (lambda: Packed([1.0], torch.tensor([0, 1])), TypeError, "rows must be a tensor"),
    ],
)
def test_what_is_refused(make: Callable[[], Packed], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
