"""Mixing in the loader: samples of every structure."""

from __future__ import annotations

import pickle
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mixkit import Collate, PerElement, SaliencyBank, Samples, create_mixer
from tests.conftest import PointModel

Pair = namedtuple("Pair", ["cloud", "label", "number"])


def constant(i: int, *shape: int) -> Tensor:
    """A cloud or image whose values tell the sample that they come from."""
    return torch.full(shape, float(i))


def samples_of(kind: str, number: int = 5) -> list[Any]:
    parts = [(constant(i, 9, 3), i, 100 + i) for i in range(number)]
    if kind == "dict":
        return [dict(zip(("cloud", "label", "number"), part, strict=True)) for part in parts]
    return [Pair(*part) if kind == "namedtuple" else type_of(kind)(part) for part in parts]


def type_of(kind: str) -> type:
    return {"tuple": tuple, "list": list}[kind]


@pytest.mark.parametrize("kind", ["dict", "namedtuple", "tuple", "list"])
def test_named_entries_are_mixed_and_the_others_pass(kind: str) -> None:
    entries = ("cloud", "label", "number") if kind == "dict" else (0, 1, 2)
    collate = Collate(create_mixer("mixup", "points", num_classes=5, per_sample=True), entries[0], entries[1])
    torch.manual_seed(2)
    batch = collate(samples_of(kind))
    mixed, targets, number = (batch[entry] for entry in entries)
    assert number.tolist() == [100, 101, 102, 103, 104]
    assert targets.shape == (5, 5)
    torch.testing.assert_close(mixed[:, 0, 0], targets @ torch.arange(5.0))
    assert not torch.equal(mixed[:, 0, 0], torch.arange(5.0))
    assert isinstance(batch, Pair if kind == "namedtuple" else dict if kind == "dict" else list)


def test_several_inputs_of_a_sample_are_mixed_by_one_plan() -> None:
    samples = [
        {"left": torch.rand(3, 6, 8), "right": torch.rand(1, 6, 8), "y": i, "size": float(i), "id": str(i)}
        for i in range(6)
    ]
    mixer = create_mixer("cutmix", "image", num_classes={"y": 6, "size": None}, p=1.0, per_sample=True)
    for sample in samples:
        sample["right"] = sample["left"].mean(0, keepdim=True)
    batch = Collate(mixer, inputs=["left", "right"], labels=["y", "size"])(samples)
    torch.testing.assert_close(batch["left"].mean(1, keepdim=True), batch["right"])
    assert not torch.equal(batch["left"], torch.stack([sample["left"] for sample in samples]))
    torch.testing.assert_close(batch["size"].float(), batch["y"] @ torch.arange(6.0))
    assert batch["id"] == list("012345")
    plain = Collate(mixer.eval(), inputs=["left", "right"], labels=["y", "size"])(samples)
    assert torch.equal(plain["left"], torch.stack([sample["left"] for sample in samples]))
    assert torch.equal(plain["y"], torch.eye(6))
    samples[0]["right"] = samples[0]["left"]
    wrong = [{**sample, "right": torch.rand(1, 5, 5)} for sample in samples]
    with pytest.raises(ValueError, match=r"of one size, got \(5, 5\) beside \(6, 8\)"):
        Collate(mixer.train(), inputs=["left", "right"], labels=["y", "size"])(wrong)


def test_labels_that_are_lists_of_numbers_stay_whole() -> None:
    samples = [(constant(i, 9, 3), [float(i == k) for k in range(4)]) for i in range(4)]
    given = [list(sample) for sample in samples]
    mixer = create_mixer("mixup", "points", num_classes=4)
    mixed, targets = Collate(mixer)(samples)
    torch.testing.assert_close(mixed[:, 0, 0], targets.float() @ torch.arange(4.0))
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(samples, given, strict=True))


def test_unstacked_labels_of_the_elements_are_listed_with_them() -> None:
    """Also where all clouds of a batch have one size, and in a last batch of one."""
    clouds = [torch.randn(number, 3) for number in (9, 7, 8, 6, 6, 6, 6, 6, 5)]
    for said in (lambda labels: labels, PerElement):
        mixer = create_mixer("pointcutmix_r", "points")
        loader = DataLoader([(c, said(c[:, 2].clone())) for c in clouds], 4, collate_fn=Collate(mixer, stack=False))
        for mixed, heights in loader:
            for one, other in zip(mixed, heights, strict=True):
                assert torch.equal(one[:, 2], other)
        mixer = create_mixer("pointcutmix_r", "points", num_classes=3)
        parts = [(c, said((c[:, 0] > 0).long())) for c in clouds]
        for mixed, targets in DataLoader(parts, 4, collate_fn=Collate(mixer, stack=False)):
            assert [each.shape for each in targets] == [(len(one), 3) for one in mixed]
    for number, label in ((3, torch.eye(3)[0]), (3, torch.tensor([1, 0, 1])), (4, torch.tensor(2))):
        samples = [(torch.randn(number, 3), label)] * 2  # soft and multi-hot labels of as many classes as points
        assert Collate(mixer, stack=False)(samples)[1].shape == (2, 3)
    samples = [(torch.randn(3, 3), parts) for parts in (torch.tensor([0, 1, 2]), PerElement([0, 1, 1]))]
    for sample in samples:  # as many points as classes, and numbers that are no multi-hot label, or said to be none
        assert [each.shape for each in Collate(mixer, stack=False)([sample] * 2)[1]] == [(3, 3)] * 2
    several = create_mixer("pointcutmix_r", "points", num_classes=(3, 2))
    samples = [(torch.randn(3, 3), torch.eye(3)[0], torch.tensor([1, 0, 1]))] * 2
    _, soft, listed = Collate(several, 0, [1, 2], stack=False)(samples)
    assert soft.shape == (2, 3)
    assert [each.shape for each in listed] == [(3, 2)] * 2


def test_it_runs_in_workers() -> None:
    collate = Collate(create_mixer("mixup", "points", num_classes=5), "cloud", "label")
    pickle.loads(pickle.dumps(collate))
    loader = DataLoader(samples_of("dict", 4), 2, collate_fn=collate, num_workers=1)
    assert [tuple(batch["label"].shape) for batch in loader] == [(2, 5)] * 2


def test_the_mixers_own_collate_takes_pairs_and_asks_otherwise() -> None:
    mixer = create_mixer("mixup", "points", num_classes=5)
    mixed, targets = mixer.collate([sample[:2] for sample in samples_of("tuple")])
    torch.testing.assert_close(mixed[:, 0, 0], targets @ torch.arange(5.0))
    several = create_mixer("mixup", "points", num_classes=(5, 200))
    _, (first, second) = several.collate(samples_of("tuple"))
    assert (first.shape, second.shape) == ((5, 5), (5, 200))
    torch.testing.assert_close(second[:, 100:105], first)
    with pytest.raises(TypeError, match=r"dicts with the entries 'cloud', 'label', 'number'.*mixkit\.Collate"):
        mixer.collate(samples_of("dict"))
    with pytest.raises(TypeError, match=r"3 entries.*num_classes is 5.*mixkit\.Collate"):
        mixer.collate(samples_of("tuple"))
    with pytest.raises(TypeError, match=r"\(input, label\), got a Tensor"):
        mixer.collate([torch.rand(9, 3)])
    with pytest.raises(TypeError, match=r"\(input, label\), got a tuple of 1"):
        mixer.collate([(torch.rand(9, 3),)])


def test_errors_name_what_came() -> None:
    mixer = create_mixer("mixup", "points", num_classes=5)
    with pytest.raises(KeyError, match=r"no entry 'labels'; their entries: 'cloud', 'label', 'number'"):
        Collate(mixer, "cloud", "labels")(samples_of("dict"))
    with pytest.raises(KeyError, match="no entry 3; their entries: 0, 1, 2"):
        Collate(mixer, 0, 3)(samples_of("tuple"))
    with pytest.raises(TypeError, match="tuples or dicts, got Tensor"):
        Collate(mixer)([torch.rand(9, 3)])
    for collate in (Collate(mixer), mixer.collate):
        with pytest.raises(ValueError, match="empty list of samples"):
            collate([])
    with pytest.raises(ValueError, match="different entries, got 'cloud' and 'cloud'"):
        Collate(mixer, "cloud", "cloud")
    with pytest.raises(ValueError, match="different entries"):
        Collate(mixer, [], "label")
    trained = create_mixer("sagemix", "points", num_classes=5, model=PointModel())
    with pytest.raises(ValueError, match="after the loader"):
        Collate(trained, "cloud", "label")(samples_of("dict"))
    assert "inputs='cloud', labels='label')" in repr(Collate(mixer, "cloud", "label"))


def keyed(number: int) -> list[Any]:
    """Samples (cloud, label, key), whose keys are not their places."""
    return [(torch.randn(9, 3), i, number - 1 - i) for i in range(number)]


@pytest.mark.parametrize("samples", [2, lambda batch: Samples(batch[2], torch.arange(9).expand(5, 9))])
def test_a_bank_learns_of_batches_that_were_collated_beside_it(samples: Any) -> None:
    bank = SaliencyBank(7, 9)
    mixer = create_mixer("sagemix", "points", num_classes=5, saliency=bank)
    loader = DataLoader(keyed(5), 5, collate_fn=Collate(mixer, samples=samples))
    for mixed, _, keys in loader:
        assert sorted(keys.tolist()) == [0, 1, 2, 3, 4]
        mixed.square().sum().backward()
    assert "5 of 7 samples seen" in repr(bank)
    mixer.eval()
    assert not next(iter(loader))[0].requires_grad


def test_several_inputs_teach_a_bank_by_the_first() -> None:
    bank = SaliencyBank(4, 9)
    mixer = create_mixer("sagemix", "points", num_classes=4, saliency=bank)
    samples = [{"a": torch.randn(9, 3), "b": torch.randn(9, 3), "y": i, "key": 3 - i} for i in range(4)]
    batch = Collate(mixer, ["a", "b"], "y", samples="key")(samples)
    assert batch["a"].requires_grad
    assert not batch["b"].requires_grad
    batch["a"].square().sum().backward()
    assert "4 of 4 samples seen" in repr(bank)


@pytest.mark.parametrize("clouds", [[9, 9, 9], [9, 5, 7]])
def test_partners_are_told_the_keys(clouds: list[int]) -> None:
    told: list[Any] = []

    def partners(keys: Any) -> Tensor:
        told.append(torch.as_tensor(keys).tolist())
        return torch.tensor([1, 2, 0])

    mixer = create_mixer("pointmixup", "points", num_classes=5, partners=partners)
    samples = [(torch.randn(number, 3), i, f"{i}", 10 * i) for i, number in enumerate(clouds)]
    batch = Collate(mixer, samples=3)(samples)
    assert told == [[0, 10, 20]]
    assert batch[3].tolist() == [0, 10, 20]


def test_what_needs_the_trained_model_is_refused_in_a_worker() -> None:
    bank = create_mixer("sagemix", "points", num_classes=5, saliency=SaliencyBank(5))
    loader = DataLoader(keyed(5), 5, collate_fn=Collate(bank, samples=2), num_workers=1)
    with pytest.raises(ValueError, match="SaliencyBank cannot run in a loader's worker: call it after the loader"):
        list(loader)
    with pytest.raises(ValueError, match="needs to know the samples"):
        Collate(bank)(keyed(5))
    with pytest.raises(KeyError, match="no entry 'key'; their entries: 0, 1, 2"):
        Collate(bank, samples="key")(keyed(5))
    assert "labels=1, samples=2)" in repr(Collate(bank, samples=2))
