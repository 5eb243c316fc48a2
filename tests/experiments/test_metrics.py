"""The scores, against numbers worked out by hand and against a plain loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.segmentation import mean_iou

from experiments.run.metrics import classification_scores, fit_temperature, part_scores, shape_ious


def test_scores_worked_out_by_hand() -> None:
    # confidences 0.9, 0.9 (one right, one wrong: bin 13 holds both), 0.62 (right), 0.55 (wrong)
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.38, 0.62], [0.55, 0.45]])
    labels = torch.tensor([0, 1, 1, 1])
    scores = classification_scores(probabilities, labels)
    assert scores.accuracy == pytest.approx(50)
    # |0.9 - 0.5| * 2/4 + |0.62 - 1| / 4 + |0.55 - 0| / 4
    assert scores.ece == pytest.approx(100 * (0.4 / 2 + 0.38 / 4 + 0.55 / 4), abs=1e-4)
    assert scores.gap == pytest.approx(100 * ((0.9 + 0.9 + 0.62 + 0.55) / 4 - 0.5), abs=1e-4)


def test_gap_tells_too_sure_from_too_shy() -> None:
    sure = torch.tensor([[0.99, 0.01], [0.99, 0.01]])
    assert classification_scores(sure, torch.tensor([0, 1])).gap == pytest.approx(49)
    shy = torch.tensor([[0.6, 0.4], [0.6, 0.4]])
    assert classification_scores(shy, torch.tensor([0, 0])).gap == pytest.approx(-40)


def test_ece_equals_a_loop_over_fifteen_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 6, generator=generator, dtype=torch.float64)).softmax(1)
    labels = torch.randint(0, 6, (500,), generator=generator)
    confidence, predicted = probabilities.max(1)
    ece = 0.0
    for k in range(15):
        inside = [i for i in range(500) if k / 15 < confidence[i] <= (k + 1) / 15]
        if inside:
            right = sum(float(predicted[i] == labels[i]) for i in inside) / len(inside)
            sure = sum(float(confidence[i]) for i in inside) / len(inside)
            ece += abs(right - sure) * len(inside) / 500
    assert classification_scores(probabilities, labels).ece == pytest.approx(100 * ece, abs=1e-4)


def test_certain_predictions_count() -> None:
    scores = classification_scores(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    assert (scores.accuracy, scores.ece, scores.gap) == pytest.approx((75, 25, 25))


def test_weighted_f1_is_the_textbook_one() -> None:
    predicted, labels = torch.tensor([0, 0, 1, 1, 1, 0]), torch.tensor([0, 1, 1, 1, 2, 2])
    scores = classification_scores(torch.eye(4)[predicted], labels)  # class 3 is neither predicted nor true
    first = 2 * 1 / (3 + 1)  # twice the hits over predictions and truths
    second = 2 * 2 / (3 + 3)
    third = 0.0
    assert scores.weighted_f1 == pytest.approx(100 * (first * 1 + second * 3 + third * 2) / 6)


# ---- temperature


def drawn(temperature: float, count: int = 40000, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a classifier that is too sure by `temperature`, and labels drawn from what it should have said."""
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(count, classes, generator=generator)
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    return temperature * honest, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_a_classifier_that_is_too_sure_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    before = classification_scores(logits.softmax(1), labels)
    after = classification_scores((logits / found).softmax(1), labels)
    assert after.accuracy == before.accuracy
    assert after.ece < 1.5
    if temperature != 1:
        assert before.ece > 8


def test_the_temperature_is_where_the_cross_entropy_is_least() -> None:
    logits, labels = drawn(2.5, count=300)
    beta = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [beta], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-15
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits.double() * beta, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(logits, labels) == pytest.approx(1 / beta.item(), rel=1e-5)


def test_a_temperature_without_a_minimum_is_at_the_end() -> None:
    assert fit_temperature(torch.eye(3) * 5, torch.arange(3)) == pytest.approx(0.01, rel=1e-3)
    assert fit_temperature(torch.eye(3) * 5, torch.tensor([1, 2, 0])) == pytest.approx(100, rel=1e-3)
    with pytest.raises(ValueError, match="at least one sample"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


# ---- parts

PARTS_OF = ((0, 1, 2), (3, 4), (5, 6, 7, 8))


def certain(predicted: torch.Tensor, num_parts: int = 9) -> torch.Tensor:
    """Logits (n, num_parts, N) whose argmax is `predicted` (n, N)."""
    return torch.nn.functional.one_hot(predicted, num_parts).movedim(-1, 1).float()


def looped_miou(
    logits: torch.Tensor, parts: torch.Tensor, categories: torch.Tensor, within: bool
) -> tuple[float, float, float]:
    by_category: dict[int, list[float]] = {}
    right = 0
    for shape in range(len(logits)):
        own = PARTS_OF[int(categories[shape])]
        candidates = own if within else range(logits.shape[1])
        values = logits[shape].tolist()
        predicted = [max(candidates, key=lambda part: values[part][point]) for point in range(logits.shape[2])]
        truth = parts[shape].tolist()
        ious = []
        for part in own:
            both = sum(p == part and t == part for p, t in zip(predicted, truth, strict=True))
            either = sum(p == part or t == part for p, t in zip(predicted, truth, strict=True))
            ious.append(both / either if either else 1.0)
        by_category.setdefault(int(categories[shape]), []).append(sum(ious) / len(ious))
        right += sum(p == t for p, t in zip(predicted, truth, strict=True))
    every = [iou for ious in by_category.values() for iou in ious]
    means = [sum(ious) / len(ious) for ious in by_category.values()]
    return 100 * sum(every) / len(every), 100 * sum(means) / len(means), 100 * right / parts.numel()


def drawn_parts(categories: torch.Tensor, points: int, generator: torch.Generator) -> torch.Tensor:
    """Parts of each shape's category, of which some shapes lack some."""
    rows = []
    for category in categories.tolist():
        own = torch.tensor(PARTS_OF[category])
        own = own[: 1 + int(torch.randint(len(own), (), generator=generator))]
        rows.append(own[torch.randint(len(own), (points,), generator=generator)])
    return torch.stack(rows)


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_part_scores_equal_a_plain_loop(strength: float) -> None:
    generator = torch.Generator().manual_seed(int(strength))
    categories = torch.randint(0, 3, (150,), generator=generator)  # more shapes than are looked at together
    parts = drawn_parts(categories, 12, generator)
    logits = torch.randn(150, 9, 12, generator=generator) + strength * certain(parts)
    scores = part_scores(logits, parts, categories, PARTS_OF)
    assert scores[:3] == pytest.approx(looped_miou(logits, parts, categories, within=False), abs=1e-9)
    assert scores[3:] == pytest.approx(looped_miou(logits, parts, categories, within=True), abs=1e-9)


def test_part_scores_worked_out_by_hand() -> None:
    categories = torch.tensor([1, 1, 0])
    parts = torch.tensor([[3, 3, 4, 4], [3, 3, 3, 3], [0, 0, 1, 1]])
    predicted = torch.tensor([[3, 4, 4, 4], [3, 3, 3, 3], [0, 0, 1, 8]])  # 8 is of another category
    scores = part_scores(certain(predicted), parts, categories, PARTS_OF)
    first = (1 / 2 + 2 / 3) / 2
    second = 1.0  # part 4 is in neither: 1
    third = (1 + 1 / 2 + 1) / 3  # part 2 is in neither: 1
    assert scores.instance_miou == pytest.approx(100 * (first + second + third) / 3)
    assert scores.class_miou == pytest.approx(100 * ((first + second) / 2 + third) / 2)  # category 2 has no shape
    assert scores.point_accuracy == pytest.approx(100 * 10 / 12)


def test_within_the_category_other_parts_cannot_win() -> None:
    parts = torch.tensor([[3, 4]])
    logits = certain(torch.tensor([[8, 8]])) * 5
    logits[0, 3, 0], logits[0, 4, 1] = 1.0, 1.0
    scores = part_scores(logits, parts, torch.tensor([1]), PARTS_OF)
    assert (scores.instance_miou, scores.point_accuracy) == (0, 0)
    assert (scores.instance_miou_within, scores.class_miou_within, scores.point_accuracy_within) == (100, 100, 100)


def test_shape_ious_agree_with_torchmetrics_per_class() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, parts = torch.randint(0, 7, (2, 40, 15), generator=generator)
    per_part = mean_iou(predicted[:, None], parts[:, None], num_classes=9, per_class=True, input_format="index")
    per_part = torch.where(per_part < 0, 1, per_part)  # -1 stands for a part in neither
    own = torch.rand(40, 9, generator=generator) < 0.5
    own[:, 0] = True
    wanted = (per_part * own).sum(1) / own.sum(1)
    torch.testing.assert_close(shape_ious(predicted, parts, own).float(), wanted)


@given(st.integers(0, 10_000))
def test_what_is_right_scores_100_and_scores_do_not_depend_on_the_order(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    categories = torch.randint(0, 3, (7,), generator=generator)
    parts = drawn_parts(categories, 6, generator)
    assert part_scores(certain(parts), parts, categories, PARTS_OF) == pytest.approx((100,) * 6)
    logits = torch.randn(7, 9, 6, generator=generator)
    shapes, points = torch.randperm(7, generator=generator), torch.randperm(6, generator=generator)
    moved = part_scores(logits[shapes][:, :, points], parts[shapes][:, points], categories[shapes], PARTS_OF)
    scores = part_scores(logits, parts, categories, PARTS_OF)
    assert moved == pytest.approx(scores)
    assert scores.point_accuracy_within >= scores.point_accuracy  # fewer ways to be wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 9, 5)}, r"got \(2, 9, 5\), \(2, 4\) and \(2,\)"),
        ({"parts": torch.full((2, 4), 9)}, r"parts must be in 0 \.\.\. 8"),
        ({"categories": torch.tensor([0, 3])}, r"categories must be in 0 \.\.\. 2"),
        ({"parts_of": ((0, 1), (9,), (2,))}, r"all of them in 0 \.\.\. 8"),
        ({"parts_of": ((0, 1), (), (2,))}, "must have parts"),
        (
            {"logits": torch.zeros(0, 9, 4), "parts": torch.zeros(0, 4).long(), "categories": torch.zeros(0).long()},
            "at least one shape",
        ),
    ],
)
def test_part_scores_refuses_what_does_not_fit(change: dict, message: str) -> None:
    arguments = {
        "logits": torch.zeros(2, 9, 4),
        "parts": torch.zeros(2, 4).long(),
        "categories": torch.tensor([0, 1]),
        "parts_of": PARTS_OF,
    }
    with pytest.raises(ValueError, match=message):
        part_scores(**{**arguments, **change})
