"""SaliencyBank: each sample's own saliency, at its own places, whatever happened to it on the way."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from mixkit import (
    ElementSet,
    GradientSaliency,
    ManifoldMixer,
    Method,
    Mixer,
    MixPlan,
    PlanContext,
    SaliencyBank,
    Samples,
    create_mixer,
)
from tests.conftest import ImageModel, PointModel

NUM, SIDE = 24, 6


def secret(keys: Tensor, elements: int = SIDE * SIDE) -> Tensor:
    """(B, N) the saliency that belongs to each sample: no two samples have maps alike, and the mean is 1."""
    places = torch.arange(elements)
    weight = 1 + ((places[None] * (keys[:, None] + 2) * 7 + keys[:, None] ** 2) % 97).float()
    return weight / weight.mean(1, keepdim=True)


class Encoded(Dataset):
    """Images whose three channels are the weights that the loss below puts on them: the gradient tells who they are."""

    def __getitem__(self, key: int) -> tuple[Tensor, int, int]:
        return secret(torch.tensor([key]))[0].reshape(1, SIDE, SIDE).expand(3, -1, -1).clone(), key % 5, key

    def __len__(self) -> int:
        return NUM


class Cut(Method):
    """The partner, a draw, takes one half of the elements; with an assignment, those that are paired with them."""

    needs = frozenset({"partners", "assign", "saliency"})

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        self.saliency = context.saliency
        size, number = elements.coords.shape[:2]
        partner = context.partners(elements)
        weight = (torch.arange(number) < number // 2).float().expand(size, -1)
        if torch.rand((), generator=context.generator) < 0.5:  # so that every place is shown in time
            weight = 1 - weight
        return MixPlan.pair(
            partner, weight, None if context.assign is None else context.assign(elements.coords, elements.coords)
        )


def self_loss(mixed: Tensor, scale: float = 1.0) -> Tensor:
    """A loss whose gradient at a place is what the mixed image holds there."""
    return scale * mixed.square().sum() / 2


def make(bank: SaliencyBank, method: Any = None, domain: str = "image", **options: Any) -> Mixer:
    return create_mixer(method or Cut(), domain, num_classes=5, saliency=bank, **options)


def relative(maps: Tensor) -> Tensor:
    return maps / maps.mean(1, keepdim=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_it_never_mixes_up_samples(workers: int) -> None:
    """Shuffled, by workers, over epochs, and resumed halfway; the halves join at the right scale after a while."""
    bank = SaliencyBank(NUM, momentum=0.5, dtype=torch.float32)
    loader = DataLoader(Encoded(), batch_size=5, shuffle=True, num_workers=workers)
    for epoch in range(8):
        if epoch == 4:
            state = {name: tensor.clone() for name, tensor in bank.state_dict().items()}
            bank = SaliencyBank(NUM, momentum=0.5, dtype=torch.float32)
            bank.load_state_dict(state)
        mixer = make(bank)
        for images, labels, keys in loader:
            mixed, _ = mixer(images, labels, samples=keys)
            self_loss(mixed, scale=1e-3 if epoch % 2 else 1e3).backward()
    keys = torch.arange(NUM)
    found, expected = bank.look_up(keys), secret(keys)
    half = SIDE * SIDE // 2
    for part in (slice(None, half), slice(half, None)):  # each half was shown by itself: its own scale, its own pattern
        torch.testing.assert_close(relative(found[:, part]), relative(expected[:, part]))
    mixer = make(bank)
    mixer(torch.randn(4, 3, SIDE, SIDE), torch.arange(4), samples=[7, 3, 11, 0])
    torch.testing.assert_close(mixer.method.saliency, found[[7, 3, 11, 0]])


def reference(bank: SaliencyBank, plan: MixPlan, found: Tensor, keys: Tensor, index: Tensor, momentum: float) -> Tensor:
    """What the bank must remember, place by place, in float64."""
    rows = bank.look_up(torch.arange(bank.num_samples)).double()
    shares: dict[tuple[int, int], list[float]] = {}
    terms = plan.num_terms
    for m in range(plan.num_outputs):
        by_source: dict[int, list[tuple[int, float]]] = {}
        for k in range(terms):
            source_of, weight_of = plan.source[m, k], plan.weight[m, k]
            for i in range(found.shape[1]):
                b = int(source_of[i if len(source_of) > 1 else 0])
                element = i if plan.index is None else int(plan.index[m, k, i])
                place = int(index[b, element])
                if weight_of[i if len(weight_of) > 1 else 0] >= 0.5 and place >= 0:
                    by_source.setdefault((b, k) if len(source_of) == 1 else b, []).append((place, float(found[m, i])))
        for source, shown in by_source.items():
            b = source[0] if isinstance(source, tuple) else source
            key = int(keys[b])
            old = sum(float(rows[key, place]) for place, _ in shown)
            new = sum(value for _, value in shown)
            for place, value in shown if new else []:
                shares.setdefault((key, place), []).append(value * max(old, 0.01 * len(shown)) / new)
    for (key, place), values in shares.items():
        keep = min(momentum, int(bank.state_dict()["updates"][key]) / (int(bank.state_dict()["updates"][key]) + 1))
        rows[key, place] = keep * rows[key, place] + (1 - keep) * sum(values) / len(values)
    return rows / rows.mean(1, keepdim=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["pair", "assigned", "per element", "one weight", "identity"]))
def test_an_update_is_what_the_loop_says(seed: int, kind: str) -> None:
    draw = torch.Generator().manual_seed(seed)
    size, number, stored = 4, 9, 13
    bank = SaliencyBank(10, stored, momentum=0.7, dtype=torch.float32)
    keys = torch.randperm(10, generator=draw)[:size]
    index = torch.randint(-1, stored, (size, number), generator=draw)
    for _ in range(3):
        weight = torch.rand(size, 1 if kind == "one weight" else number, generator=draw)
        partner = torch.randint(size, (size,), generator=draw)
        if kind == "identity":
            plan = MixPlan.identity(size)
        elif kind == "per element":
            source = torch.randint(size, (size, 2, number), generator=draw)
            plan = MixPlan(source, None, torch.stack([weight, 1 - weight], 1))
        else:
            pairing = torch.rand(size, number, generator=draw).argsort(1) if kind == "assigned" else None
            plan = MixPlan.pair(partner, weight, pairing)
        found = torch.rand(size, number, generator=draw)
        found[0] = 0  # a mixed sample without any gradient teaches nothing
        expected = reference(bank, plan, found, keys, index, 0.7)
        domain = SimpleNamespace(saliency=lambda grad: grad[..., 0])
        leaf = bank.watch(torch.zeros(size, number, 1), plan, Samples(keys, index), domain)
        leaf.backward(found[..., None])
        torch.testing.assert_close(bank.look_up(torch.arange(10)).double(), expected, rtol=1e-4, atol=1e-5)


def test_points_are_followed_through_subsampling_and_assignment() -> None:
    """Stored clouds of 40 points; each epoch shows 25 of them in another order, mixed by the optimal assignment."""
    draw = torch.Generator().manual_seed(0)
    clouds = torch.randn(8, 40, 3, generator=draw)
    weight = secret(torch.arange(8), 40)
    bank = SaliencyBank(8, 40, momentum=0.0, dtype=torch.float32)
    mixer = make(bank, "sagemix", "points", sigma=0.5)

    for _ in range(60):
        index = torch.rand(8, 40, generator=draw).argsort(1)[:, :25]
        points = clouds.gather(1, index[..., None].expand(-1, -1, 3))
        seed = int(torch.randint(1000, (), generator=draw))
        samples = Samples(torch.arange(8), index)
        plan = mixer.plan(points, torch.arange(8) % 5, generator=torch.Generator().manual_seed(seed), samples=samples)
        mixed, _ = mixer(points, torch.arange(8) % 5, generator=torch.Generator().manual_seed(seed), samples=samples)
        shown = plan.weight.argmax(1, keepdim=True)  # whom each place is a picture of
        element = plan.index.gather(1, shown)[:, 0]
        source = plan.source.expand_as(plan.index).gather(1, shown)[:, 0]
        gradient = weight[source, index[source, element]]
        mixed.backward(gradient[..., None] * F.normalize(torch.ones(3), dim=0))
    found = bank.look_up(torch.arange(8))
    # scales of parts that are never shown together may differ; neighbours' order of size is the sample's own
    agreement = torch.stack([torch.corrcoef(torch.stack([f, w]))[0, 1] for f, w in zip(found, weight, strict=True)])
    others = torch.stack(
        [torch.corrcoef(torch.stack([f, w]))[0, 1] for f, w in zip(found, weight.roll(1, 0), strict=True)]
    )
    assert agreement.min() > 0.8
    assert others.abs().max() < 0.5


class Pipeline(Dataset):
    """Encoded images through a crop with padding and a flip, their places beside them."""

    transform = v2.Compose([v2.RandomCrop(SIDE, padding=2), v2.RandomHorizontalFlip()])

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor, int, int]:
        image, label, _ = Encoded()[key]
        places = tv_tensors.Mask(Samples.places(SIDE, SIDE))
        image, places = self.transform(tv_tensors.Image(image), places)
        return image.as_subclass(Tensor), places.as_subclass(Tensor), label, key

    def __len__(self) -> int:
        return NUM


@pytest.mark.parametrize("workers", [0, 1])
def test_places_travel_through_crop_and_flip(workers: int) -> None:
    bank = SaliencyBank(NUM, SIDE * SIDE, momentum=0.5, dtype=torch.float32)
    mixer = make(bank, "sagemix", p=0.0)  # unmixed batches teach too
    loader = DataLoader(Pipeline(), batch_size=8, shuffle=True, num_workers=workers)
    for _ in range(30):
        for images, places, labels, keys in loader:
            samples = Samples.at_places(keys, places)
            index = samples.index
            assert (images.mean(1).flatten(1)[index < 0] == 0).all()
            torch.testing.assert_close(
                images[:, 0].flatten(1), secret(keys).gather(1, index.clamp_min(0)) * (index >= 0)
            )
            self_loss(mixer(images, labels, samples=samples)[0]).backward()
    keys = torch.arange(NUM)
    torch.testing.assert_close(bank.look_up(keys), secret(keys), rtol=0.05, atol=0.05)
    flipped = torch.arange(SIDE * SIDE).reshape(SIDE, SIDE).flip(1).expand(NUM, -1, -1)
    looked = bank.look_up(Samples(keys, flipped))
    torch.testing.assert_close(looked, bank.look_up(keys).reshape(-1, SIDE, SIDE).flip(2).flatten(1))


def test_a_coarser_grid_of_cells_is_remembered_by_its_places() -> None:
    places = Samples.places(5, 7, cells=(2, 3))
    assert places.shape == (1, 5, 7)
    assert places.unique().tolist() == [1, 2, 3, 4, 5, 6]
    bank = SaliencyBank(2, 6, momentum=0.0)
    images = torch.zeros(2, 3, 5, 7)
    samples = Samples.at_places([1, 0], places.expand(2, 1, 5, 7))
    mixed, _ = make(bank, "sagemix", p=0.0)(images, torch.arange(2), samples=samples)
    mixed.backward(samples.index.reshape(2, 1, 5, 7).expand(-1, 3, -1, -1).float() + 1)
    cells = bank.look_up(torch.tensor([0]))[0]
    torch.testing.assert_close(cells / cells[0], torch.arange(1.0, 7.0), rtol=1e-2, atol=0)
    with pytest.raises(ValueError, match=r"as many sides >= 1 as the sample, got \(2,\) for \(5, 7\)"):
        Samples.places(5, 7, cells=(2,))


def test_training_is_as_without_a_bank() -> None:
    """The bank reads a gradient; weights get theirs, and the user's batch stays a batch without one."""
    images, labels, keys = torch.randn(6, 3, 9, 7), torch.arange(6) % 5, torch.arange(6)
    grads = []
    for saliency in (SaliencyBank(6), lambda batch: torch.ones(6, 63)):
        torch.manual_seed(1)
        model = ImageModel().eval()
        mixer = create_mixer("sagemix", "image", num_classes=5, saliency=saliency)
        mixed, targets = mixer(images, labels, samples=keys)
        F.cross_entropy(model(mixed), targets).backward()
        grads.append([q.grad for q in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1])
    bank = SaliencyBank(6)
    mixed, _ = make(bank, p=0.0)(images, labels, samples=keys)
    assert mixed.requires_grad
    assert not images.requires_grad
    assert torch.equal(mixed, images)
    assert make(bank).eval()(images, labels)[0] is images
    wanted = images.clone().requires_grad_()  # a batch that wants a gradient of its own still gets it
    self_loss(make(bank)(wanted, labels, samples=keys)[0]).backward()
    assert wanted.grad is not None
    assert bank.state_dict()["updates"].tolist() == [1] * 6


def test_what_a_step_may_do_to_the_gradient() -> None:
    """Scaled, accumulated, in several passes, without one, or with an overflow: the same map, or the one before."""
    images, labels, keys = Encoded()[3][0][None].repeat(2, 1, 1, 1), torch.tensor([3, 3]), torch.tensor([3, 4])
    expected = secret(torch.tensor([3]))[0]

    def remembered(*scales: float) -> tuple[Tensor, int]:
        bank = SaliencyBank(NUM, momentum=0.5)
        mixed, _ = make(bank, p=0.0)(images, labels, samples=keys)
        for scale in scales:
            self_loss(mixed, scale).backward(retain_graph=True)
        return bank.look_up(keys)[0], int(bank.state_dict()["updates"][3])

    for scales in ((1.0,), (2.0**16,), (1e-6,), (1.0, 3.0, 0.5)):
        found, updates = remembered(*scales)
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
        assert updates == len(scales)
    for scales in ((), (math.inf,), (math.nan,), (0.0,)):
        found, updates = remembered(*scales)
        assert (found == 1).all()
        assert updates == 0


def test_autocast_and_grad_scaling() -> None:
    bank, model = SaliencyBank(6), ImageModel()
    with torch.autocast("cpu", torch.bfloat16):
        mixed, targets = make(bank, "sagemix")(torch.randn(6, 3, 9, 7), torch.arange(6) % 5, samples=torch.arange(6))
        loss = F.cross_entropy(model(mixed), targets)
    (loss * 1024).backward()
    assert torch.isfinite(bank.look_up(torch.arange(6))).all()
    assert (bank.state_dict()["updates"] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_what_is_kept_is_close_in_any_dtype(dtype: torch.dtype) -> None:
    bank, keys = SaliencyBank(NUM, 36, dtype=dtype), torch.tensor([5, 0, 7])
    assert (bank.look_up(keys) == 1).all()
    saliency = torch.rand(3, 36).pow(4)
    bank.store(keys, saliency * 40)
    found, expected = bank.look_up(keys), relative(saliency)
    size = {torch.uint8: 1, torch.float32: 4}.get(dtype, 2)
    assert bank.num_bytes == NUM * (36 * size + 16)
    assert f"3 of {NUM} samples seen, 36 elements each, {dtype}" in repr(bank)
    tolerance = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.uint8: 0.01}[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.max()))
    assert (bank.look_up(torch.tensor([1])) == 1).all()


def test_unseen_and_stale_samples_are_taken_exactly() -> None:
    images, labels = torch.randn(6, 3, 9, 7), torch.arange(6) % 5
    calls: list[list[int]] = []
    model = ImageModel()

    class Watched(GradientSaliency):
        def find(self, batch: Tensor, labels: Any, domain: Any, *_: Any) -> Tensor:
            calls.append([int((images == one).flatten(1).all(1).nonzero()) for one in batch])
            assert torch.equal(labels.tensor, torch.tensor(calls[-1]) % 5)
            return super().find(batch, labels, domain)

    bank = SaliencyBank(10, unseen="exact", refresh_every=3)
    mixer = make(bank, "sagemix", model=model)
    assert bank.exact.model is model
    bank.exact = Watched(model)
    for rows in ([0, 1, 2], [2, 3, 4], [2, 0, 1], [2, 0, 1], [5, 2, 0]):
        mixed, targets = mixer(images[rows], labels[rows], samples=torch.tensor(rows) + 4)
        F.cross_entropy(model(mixed), targets).backward()
    # all at their first time; of the later ones those whose count, from key % 3, comes to a multiple of 3
    assert calls == [[0, 1, 2], [3, 4], [2, 0], [5]]
    exact = GradientSaliency(model).find(images[[3]], labels[[3]], mixer.domain)
    only = SaliencyBank(10, unseen="exact")
    only_mixer = make(only, Cut(), model=model)
    only_mixer.plan(images[3:5], labels[3:5], samples=[3, 4])
    torch.testing.assert_close(relative(only_mixer.method.saliency)[0], relative(exact)[0], rtol=2e-3, atol=2e-3)


def test_labels_of_any_structure_go_with_the_samples_that_are_due() -> None:
    bank = SaliencyBank(6, unseen="exact")
    seen: list[Any] = []

    def loss(output: Tensor, labels: Any) -> Tensor:
        seen.append(labels)
        return F.cross_entropy(output, labels["y"], reduction="sum")

    mixer = create_mixer("sagemix", "points", num_classes=5, saliency=bank, model=PointModel(), loss=loss)
    points = torch.randn(4, 12, 3)
    bank.store(torch.tensor([0, 2]), torch.rand(2, 12))
    mixer(points, {"y": torch.arange(4), "z": torch.arange(4) + 1}, samples=[0, 1, 2, 3])
    assert seen[0]["z"].tolist() == [2, 4]


def test_a_state_is_tensors_and_must_fit() -> None:
    bank = SaliencyBank(10, 4, dtype=torch.uint8, refresh_every=2)
    bank.store(torch.tensor([3]), torch.rand(1, 4))
    state = bank.state_dict()
    assert all(isinstance(tensor, Tensor) for tensor in state.values())
    twin = SaliencyBank(10, dtype=torch.uint8)
    twin.load_state_dict(state)
    torch.testing.assert_close(twin.look_up(torch.arange(10)), bank.look_up(torch.arange(10)))
    bank.store(torch.tensor([3]), torch.rand(1, 4))  # the twin has a copy
    assert not torch.equal(twin.look_up(torch.arange(10)), bank.look_up(torch.arange(10)))
    empty = SaliencyBank(10)
    SaliencyBank(10).load_state_dict(empty.state_dict())
    for other in (SaliencyBank(9, 4, dtype=torch.uint8), SaliencyBank(10, 5, dtype=torch.uint8), SaliencyBank(10, 4)):
        with pytest.raises(ValueError, match=r"the state 10 x 4 torch.uint8"):
            other.load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": None}, ValueError, r"mixer\(batch, labels, samples=keys\)"),
        ({"samples": [[0], [1], [2], [3]]}, ValueError, r"keys must be \(B,\).*got \(4, 1\)"),
        ({"keys": [0, 1, 2, 10]}, ValueError, r"keys must lie in \[0, 10\), got 0 to 10"),
        ({"keys": [0, -1, 2, 3]}, ValueError, r"keys must lie in \[0, 10\), got -1 to 3"),
        ({"samples": [0, 1, 2]}, ValueError, r"keys must be \(4,\).*got \(3,\)"),
        ({"keys": [0.0, 1, 2, 3]}, TypeError, "keys must be integers, got torch.float32"),
        ({"index": torch.zeros(4, 8, dtype=torch.long)}, ValueError, r"index must be \(4, 9\).*got \(4, 8\)"),
        ({"index": torch.zeros(3, 9, dtype=torch.long)}, ValueError, r"index must be \(4, N\).*got \(3, 9\)"),
        ({"index": torch.full((4, 9), 12)}, ValueError, r"index must lie in \[-1, 12\), got 12 to 12"),
        ({"index": torch.full((4, 9), -2)}, ValueError, r"index must lie in \[-1, 12\), got -2"),
        ({"index": torch.zeros(4, 9)}, TypeError, "index must be integers, got torch.float32"),
        (
            {"index": None},
            ValueError,
            r"the bank has 12 elements per sample, the batch 9: give samples=mixkit.Samples\(keys, index\)",
        ),
        ({"elements": None}, ValueError, "how many elements are stored: num_elements="),
    ],
)
def test_errors_name_what_came(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"keys": [0, 1, 2, 3], "index": torch.zeros(4, 9, dtype=torch.long), "elements": 12} | change
    mixer = make(SaliencyBank(10, given["elements"]), "sagemix", "points")
    with pytest.raises(error, match=message):
        mixer(torch.randn(4, 9, 3), torch.arange(4), samples=samples_of(given))


def samples_of(given: dict[str, Any]) -> Any:
    return given["samples"] if "samples" in given else Samples(given["keys"], given["index"])


def test_other_errors() -> None:
    for wrong, message in (
        ({"num_samples": 0}, "num_samples must lie in 1 .. 2147483647, got 0"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"dtype": torch.int8}, "or uint8, got torch.int8"),
        ({"unseen": "none"}, "'uniform' or 'exact', got 'none'"),
        ({"refresh_every": 0}, "refresh_every must lie in 1 .. 2147483647, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SaliencyBank(**({"num_samples": 3} | wrong))
    with pytest.raises(ValueError, match="needs model="):
        make(SaliencyBank(3, refresh_every=2))
    make(SaliencyBank(3)).refuse_in_loader()  # in a worker it is refused, see test_collate
    plain = create_mixer("mixup", "points", num_classes=5, saliency=SaliencyBank(3))
    assert not plain(torch.randn(4, 9, 3), torch.arange(4))[0].requires_grad  # a method without saliency has no use


def _learn(rank: int, folder: str) -> None:
    """One of two processes: each updates samples of its own, and both update the last."""
    torch.set_num_threads(1)  # a forked process has none of its parent's threads, and would wait for them
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    bank = SaliencyBank(6, 4, dtype=torch.float32, momentum=0.5)
    for _ in range(2):
        keys = torch.tensor([2 * rank, 2 * rank + 1, 5])
        bank.store(keys, secret(keys + 1 + 10 * rank, 4))
        bank.sync()
    bank.sync()  # nothing is new: nothing changes
    late = SaliencyBank(3, dtype=torch.float32)
    late.sync()  # nobody has had a batch yet
    if rank == 0:
        late.store(torch.tensor([1]), secret(torch.tensor([1]), 4))
    late.sync()
    torch.save({**bank.state_dict(), "late": late.look_up(torch.arange(3))}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_merge_what_they_learnt(tmp_path: Any) -> None:
    torch.multiprocessing.start_processes(_learn, (str(tmp_path),), nprocs=2, start_method="fork")
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name in one:
        torch.testing.assert_close(one[name], two[name])
    torch.testing.assert_close(one["maps"][:2], secret(torch.tensor([1, 2]), 4))
    torch.testing.assert_close(one["maps"][2:4], secret(torch.tensor([13, 14]), 4))
    both = (secret(torch.tensor([6]), 4) + secret(torch.tensor([16]), 4)) / 2
    torch.testing.assert_close(one["maps"][5:], both)
    assert (one["maps"][4] == 1).all()
    assert one["updates"].tolist() == [2, 2, 2, 2, 0, 4]
    torch.testing.assert_close(
        one["late"], torch.stack([torch.ones(4), secret(torch.tensor([1]), 4)[0], torch.ones(4)])
    )


def test_a_model_trains_with_a_bank() -> None:
    """The whole step on a small model: the map finds the corner that the label depends on."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (64,), generator=draw)
    images = torch.randn(64, 3, 8, 8, generator=draw) * 0.3
    images[:, :, :4, :4] += (labels * 2.0 - 1)[:, None, None, None]
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    nn.init.zeros_(model[1].weight)  # all that it looks at is learnt
    bank = SaliencyBank(64)
    mixer = create_mixer("sagemix", "image", num_classes=2, saliency=bank)
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(20):
        for keys in torch.randperm(64, generator=draw).split(16):
            mixed, targets = mixer(images[keys], labels[keys], samples=keys)
            optimiser.zero_grad()
            F.cross_entropy(model(mixed), targets).backward()
            optimiser.step()
    maps = bank.look_up(torch.arange(64)).reshape(64, 8, 8)
    assert (maps[:, :4, :4].mean((1, 2)) > 2 * maps[:, 4:, 4:].mean((1, 2))).all()
    torch.testing.assert_close(maps.mean((1, 2)), torch.ones(64), rtol=1e-3, atol=0)


def test_a_bank_is_for_the_input_only() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    with pytest.raises(ValueError, match="serves a Mixer"):
        ManifoldMixer(model, ["input"], num_classes=5, saliency=SaliencyBank(8))
