"""Puzzle Mix: its energy and its mixed images against plain loops; draws, edge cases, devices of the batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import mixkit
import mixkit_image
from mixkit_image.functional.cells import cell_means, cell_of_pixel
from mixkit_image.functional.puzzlemix import mask_problem, pixel_index, puzzlemix
from mixkit_image.methods import PuzzleMix
from mixkit_image.methods.puzzlemix import cells_per_side
from mixkit_image.solvers.mask import solve_mask

PAPER = {"beta": 1.2, "gamma": 0.5, "eta": 0.2}


def blobs(batch: int, height: int, width: int) -> Tensor:
    """Saliency (B, H * W) in patches, as a gradient's is, with peaks that tell the images apart."""
    noise = torch.rand(batch, 1, height + 4, width + 4) ** 8
    return torch.nn.functional.avg_pool2d(noise, 5, 1).flatten(1)


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def patch_mean(image: Tensor, rows: range, columns: range) -> float:
    return mean([float(image[r, c]) for r in rows for c in columns])


def loop_problem(
    images: Tensor, saliency: Tensor, partner: Tensor, ratio: float, n: int, std: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The energy's terms from docs/notes/spec.md steps 2 to 5, for sides that n divides into multiples of 4 or less."""
    batch, channels, height, width = images.shape
    side, across = height // n, width // n
    q, q_across = min(4, side), min(4, across)
    u = torch.zeros(batch, n, n, dtype=torch.float64)
    for b in range(batch):
        for r in range(n):
            for c in range(n):
                block = saliency[b].reshape(height, width)
                u[b, r, c] = patch_mean(block, range(r * side, (r + 1) * side), range(c * across, (c + 1) * across))
        u[b] /= u[b].sum()

    def pooled(b: int, channel: int, r: int, c: int) -> float:
        rows, columns = range(r * q, (r + 1) * q), range(c * q_across, (c + 1) * q_across)
        return patch_mean(images[b, channel], rows, columns) * std[channel]

    smooth = 1.2 / (16 * n)

    def differ(x: int, y: int, here: tuple[int, int], there: tuple[int, int], vertical: bool) -> float:
        """d_xy: the first cell from image x, the second from image y."""
        per_row, per_column = side // q, across // q_across
        terms = []
        for channel in range(channels):
            for k in range(per_column if vertical else per_row):
                if vertical:
                    first = (here[0] * per_row + per_row - 1, here[1] * per_column + k)
                    second = (there[0] * per_row, there[1] * per_column + k)
                else:
                    first = (here[0] * per_row + k, here[1] * per_column + per_column - 1)
                    second = (there[0] * per_row + k, there[1] * per_column)
                terms.append(abs(pooled(x, channel, *first) - pooled(y, channel, *second)))
        return mean(terms) * smooth * 0.5

    unary = torch.zeros(batch, 3, n, n, dtype=torch.float64)
    down = torch.zeros(batch, n - 1, n, dtype=torch.float64)
    right = torch.zeros(batch, n, n - 1, dtype=torch.float64)
    prior = [(1 - ratio) ** 2, 2 * ratio * (1 - ratio), ratio**2]
    for b in range(batch):
        other = int(partner[b])
        shows_a, shows_b = u[other].clone(), u[b].clone()  # what is lost of saliency
        for r in range(n):
            for c in range(n):
                for there, weights, vertical in (((r + 1, c), down, True), ((r, c + 1), right, False)):
                    if max(there) == n:
                        continue
                    aa, bb, ab, ba = (
                        differ(x, y, (r, c), there, vertical)
                        for x, y in ((b, b), (other, other), (b, other), (other, b))
                    )
                    shows_a[r, c] += (ab + aa) / 2
                    shows_b[r, c] += (ba + bb) / 2
                    shows_a[there] += (ba + aa) / 2
                    shows_b[there] += (ab + bb) / 2
                    weights[b, r, c] = max((ab + ba - aa - bb) / 2 + smooth, 0)
        for label, t in enumerate((0, 0.5, 1)):
            unary[b, label] = (1 - t) * shows_b + t * shows_a - 0.2 / n**2 * math.log(prior[label] + 1e-8)
    return unary, down, right


@pytest.mark.parametrize(("n", "height", "width"), [(2, 16, 16), (4, 16, 16), (8, 16, 16), (2, 8, 16), (2, 4, 24)])
def test_energy_equals_the_loop(n: int, height: int, width: int) -> None:
    images, saliency = torch.rand(3, 2, height, width), blobs(3, height, width)
    partner, ratio, std = torch.tensor([1, 2, 0]), torch.tensor([0.37]), [0.25, 0.5]
    found = mask_problem(images / torch.tensor(std)[:, None, None], saliency, partner, ratio, n, **PAPER, std=std)
    expected = loop_problem(images / torch.tensor(std)[:, None, None], saliency, partner, 0.37, n, std)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-7)
        assert ours.dtype == torch.float32
    assert (found[1] > 0).all()
    assert (found[2] > 0).all()


def loop_mix(
    images: Tensor, saliency: Tensor, partner: Tensor, label: Tensor, n: int, block: int, t_eps: float
) -> tuple[Tensor, list[float]]:
    """Mixed images and label weights, from docs/notes/spec.md steps 6 and 7, given the masks' labels (B, n, n)."""
    from tests.image.test_solvers_transport import loop_transport

    size, width = images.shape[2], images.shape[3]
    t_rows, t_columns = size // min(block, size // n), width // min(block, width // n)
    high, wide = size // t_rows, width // t_columns
    mixed, weights = torch.zeros_like(images), []
    for b in range(len(images)):
        mask = torch.tensor(
            [[float(label[b, r * n // size, c * n // width]) / 2 for c in range(width)] for r in range(size)]
        )
        weights.append(float(mask.mean()))
        for sample, m in ((b, mask), (int(partner[b]), 1 - mask)):
            pooled = torch.nn.functional.avg_pool2d(saliency[sample].reshape(1, 1, size, width), (high, wide))[0, 0]
            source = loop_transport(pooled / pooled.sum(), m[::high, ::wide] > 0, t_eps)
            for r in range(size):
                for c in range(width):
                    i = source[(r // high) * t_columns + c // wide]
                    row, column = i // t_columns * high + r % high, i % t_columns * wide + c % wide
                    mixed[b, :, r, c] += m[r, c] * images[sample, :, row, column]
    return mixed, weights


@pytest.mark.parametrize(
    ("n", "size", "block"), [(2, (16, 16), 4), (4, (16, 16), 4), (8, (16, 16), 4), (2, (8, 16), 2)]
)
@pytest.mark.parametrize("t_eps", [0.8, 0.01])
def test_mixed_images_equal_the_loop(n: int, size: tuple[int, int], block: int, t_eps: float) -> None:
    images, saliency, partner = torch.rand(5, 3, *size), blobs(5, *size), torch.tensor([2, 0, 1, 3, 0])
    ratio = torch.tensor([0.45])
    plan = puzzlemix(images.flatten(2).mT, size, saliency, partner, ratio, n, block=block, t_eps=t_eps).validate()
    label = solve_mask(*mask_problem(images, saliency, partner, ratio, n, **PAPER, std=None))
    mixed, weights = loop_mix(images, saliency, partner, label, n, block, t_eps)
    torch.testing.assert_close(plan.apply(images.flatten(2).mT).mT.unflatten(2, size), mixed)
    for b in range(5):
        assert float(plan.targets(torch.eye(5))[b, b]) == pytest.approx(1 if partner[b] == b else weights[b], abs=1e-5)
    assert t_eps > 0.1 or (plan.index != torch.arange(size[0] * size[1])).any()  # where it is cheap, something moves
    assert 0 < plan.weight[:, 0].mean() < 1


def test_transport_permutes_pixels() -> None:
    values, saliency = torch.rand(6, 32 * 32, 3), blobs(6, 32, 32)
    moved = []
    for n in (2, 4, 8, 16):
        plan = puzzlemix(values, (32, 32), saliency, torch.randperm(6), torch.tensor([0.5]), n, t_eps=0.01)
        every = torch.arange(32 * 32).expand(6, 2, -1)
        assert torch.equal(plan.index.sort(2).values, every)
        moved.append(not torch.equal(plan.index, every))
    assert any(moved)


def test_without_transport_it_is_a_pair_in_place() -> None:
    values, saliency, partner = torch.rand(6, 256, 3), blobs(6, 16, 16), torch.randperm(6)
    ratio = torch.tensor([0.5])
    still = puzzlemix(values, (16, 16), saliency, partner, ratio, 4, transport=False).validate()
    moving = puzzlemix(values, (16, 16), saliency, partner, ratio, 4).validate()
    assert still.index is None
    assert still.keeps_own
    assert torch.equal(still.weight, moving.weight)
    assert set(still.weight.unique().tolist()) <= {0.0, 0.5, 1.0}


def test_each_image_keeps_what_is_salient() -> None:
    """a is salient on the left, b on the right: the mask shows each where it is salient."""
    saliency = torch.full((2, 8, 8), 1e-3)
    saliency[0, :, :4], saliency[1, :, 4:] = 1.0, 1.0
    plan = puzzlemix(
        torch.zeros(2, 64, 1),
        (8, 8),
        saliency.flatten(1),
        torch.tensor([1, 0]),
        torch.tensor([0.5]),
        2,
        transport=False,
    )
    assert torch.equal(plan.weight[0, 0].reshape(8, 8)[:, [0, 7]], torch.tensor([1.0, 0.0]).expand(8, 2))
    torch.testing.assert_close(plan.weight[0], plan.weight[1].flip(0))


def test_the_prior_decides_where_saliency_does_not() -> None:
    values, saliency, partner = torch.rand(4, 64, 3), torch.ones(4, 64), torch.tensor([1, 2, 3, 0])
    for ratio, level in ((0.02, 0.0), (0.5, 0.5), (0.98, 1.0)):
        plan = puzzlemix(values, (8, 8), saliency, partner, torch.tensor([ratio]), 4, transport=False)
        assert (plan.weight[:, 0] == level).all()
    per_sample = puzzlemix(values, (8, 8), saliency, partner, torch.tensor([0.02, 0.5, 0.98, 0.0]), 4, transport=False)
    assert per_sample.weight[:, 0].mean(1).tolist() == [0, 0.5, 1, 0]


@pytest.mark.parametrize("grid", [(7, 12), (9, 9), (1, 5), (3, 2), (31, 18), (32, 48)])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_size(grid: tuple[int, int], channels: int) -> None:
    images, saliency = torch.rand(3, channels, *grid), blobs(3, *grid)
    mixer = mixkit.create_mixer("puzzlemix", "image", num_classes=3, saliency=lambda _: saliency)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        plan = mixer.plan(images, torch.arange(3), generator=generator).validate()
        mixed, targets = mixer.apply_plan(plan, images, torch.arange(3))
        assert mixed.shape == images.shape
        torch.testing.assert_close(targets.sum(1), torch.ones(3))
        torch.testing.assert_close(targets, plan.sample_weights, rtol=0, atol=1e-6)  # label = mean over elements


def test_blocks_of_unequal_size_read_within_their_source() -> None:
    """7 x 10 pixels in 2 x 3 blocks: a pixel reads its source block, at the same relative place."""
    source = torch.tensor([[5, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])
    index = pixel_index(source, (7, 10), 2, 3)
    block = cell_of_pixel((7, 10), 2, 3, torch.device("cpu"))
    for image in range(2):
        assert torch.equal(block[index[image]], source[image][block])
    assert torch.equal(index[1], torch.arange(70))


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (5, 3)])
def test_cell_means_are_means_of_a_partition(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size)
    rows, columns = 2, 3
    found = cell_means(maps, rows, columns)
    cell = cell_of_pixel(size, rows, columns, maps.device).reshape(size)
    for r in range(size[0]):
        for c in range(size[1]):
            assert cell[r, c] == (r * rows // size[0]) * columns + c * columns // size[1]
    for k in range(rows * columns):
        torch.testing.assert_close(found.flatten(2)[:, :, k], maps[:, :, cell == k].mean(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    images, saliency = torch.rand(5, 3, 16, 16), blobs(5, 16, 16)
    images, saliency = images.to(dtype), saliency.to(dtype)
    mixer = mixkit.create_mixer("puzzlemix", "image", num_classes=5, saliency=lambda _: saliency)
    mixed, targets = mixer(images, torch.arange(5))
    assert mixed.dtype == dtype
    assert targets.dtype == torch.float32
    assert torch.isfinite(mixed).all()


def test_saliency_that_says_nothing_is_uniform() -> None:
    values, partner, ratio = torch.rand(5, 256, 3), torch.tensor([1, 2, 3, 4, 0]), torch.tensor([0.4])
    good = blobs(5, 16, 16)
    bad, flat = good.clone(), good.clone()
    flat[1:4] = 1.0
    bad[1], bad[2, 7], bad[3, 9] = 0.0, torch.nan, torch.inf
    plans = [puzzlemix(values, (16, 16), s, partner, ratio, 4).validate() for s in (bad, flat)]
    assert torch.equal(plans[0].weight, plans[1].weight)
    assert torch.equal(plans[0].index, plans[1].index)
    for scale in (1e-38, 1e37):  # any unit of saliency
        scaled = puzzlemix(values, (16, 16), good * scale, partner, ratio, 4)
        assert torch.equal(scaled.weight, puzzlemix(values, (16, 16), good, partner, ratio, 4).weight)


def test_one_image_alone_is_itself_without_transport() -> None:
    image = torch.rand(1, 3, 16, 16)
    mixer = mixkit.create_mixer("puzzlemix", "image", num_classes=1, saliency="spectral_residual", transport=False)
    mixed, targets = mixer(image, torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(mixed, image)
    assert targets.tolist() == [[1.0]]
    mixkit.create_mixer("puzzlemix", "image", num_classes=1, saliency="spectral_residual")(image, torch.tensor([0]))


def test_sides_of_the_grid_are_drawn_among_those_that_divide() -> None:
    assert cells_per_side((32, 32)) == [2, 4, 8, 16]
    assert cells_per_side((24, 40)) == [2, 4, 8]
    assert cells_per_side((6, 32)) == [2]
    assert cells_per_side((7, 32)) == [2, 4]
    assert cells_per_side((1, 32)) == [1]
    images = torch.rand(4, 3, 32, 32)
    saliency = blobs(4, 32, 32)
    method = PuzzleMix(transport=False)
    elements = mixkit_image.PixelGrid().elements(images)
    finest = set()
    for seed in range(40):
        context = mixkit.PlanContext(saliency, generator=torch.Generator().manual_seed(seed))
        plan = method.plan(elements, context)
        changes = plan.weight[:, 0].reshape(4, 32, 32).diff(dim=2).abs().sum((0, 1)).nonzero().flatten() + 1
        finest.add(min([math.gcd(int(c), 32) for c in changes], default=32))
    assert {2, 4, 8} <= finest  # 16, 8 and 4 cells a side have all been drawn


def test_same_seed_same_plan_and_one_ratio_per_batch() -> None:
    images, saliency = torch.rand(9, 3, 16, 16), torch.ones(9, 256)
    mixer = mixkit.create_mixer("puzzlemix", "image", num_classes=9, saliency=lambda _: saliency, alpha=0.1)
    plans = [mixer.plan(images, torch.arange(9), generator=torch.Generator().manual_seed(k)) for k in (1, 1, 2)]
    assert torch.equal(plans[0].source, plans[1].source)
    assert torch.equal(plans[0].weight, plans[1].weight)
    assert not torch.equal(plans[0].source, plans[2].source)
    assert plans[0].weight[:, 0].unique().numel() == 1  # equal saliency everywhere: lambda alone decides


def test_inputs_are_left_alone_and_layouts_agree() -> None:
    images, saliency, partner = torch.rand(5, 3, 16, 16), blobs(5, 16, 16), torch.randperm(5)
    before = images.clone(), saliency.clone()
    ratio = torch.tensor([0.5])
    plan = puzzlemix(images.flatten(2).mT, (16, 16), saliency, partner, ratio, 8)
    last = images.contiguous(memory_format=torch.channels_last)
    other = puzzlemix(last.flatten(2).mT, (16, 16), saliency, partner, ratio, 8)
    assert torch.equal(plan.weight, other.weight)
    assert torch.equal(images, before[0])
    assert torch.equal(saliency, before[1])


def test_errors() -> None:
    for option in ({"alpha": 0}, {"beta": -1}, {"eta": -0.1}, {"t_eps": -1}, {"block": 0}, {"std": (0.2, 0.0)}):
        with pytest.raises(ValueError, match=next(iter(option))):
            PuzzleMix(**option)
    values, saliency, partner = torch.rand(2, 16, 3), torch.rand(2, 16), torch.tensor([1, 0])
    good = {"values": values, "grid": (4, 4), "saliency": saliency, "partner": partner, "ratio": torch.tensor([0.5])}
    for wrong in (
        {"grid": (4, 5)},
        {"saliency": torch.rand(2, 15)},
        {"partner": torch.tensor([1])},
        {"ratio": torch.rand(3)},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            puzzlemix(**{**good, **wrong}, cells=2)
    with pytest.raises(ValueError, match=r"cells must lie in 1 \.\. 4"):
        puzzlemix(**good, cells=5)
    coords = torch.rand(2, 16, 2)
    with pytest.raises(ValueError, match="grid"):
        PuzzleMix().plan(mixkit.ElementSet(coords, values), mixkit.PlanContext(saliency=saliency))
    with pytest.raises(ValueError, match="saliency"):
        PuzzleMix().plan(mixkit.ElementSet(coords, values, (4, 4)), mixkit.PlanContext())
    with pytest.raises(ValueError, match="serves image"):
        mixkit.create_mixer("puzzlemix", "points", num_classes=2)
