"""Scenes for segmentation: made-up streets, files in the true formats, the model, and `sceneseg` itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data.scans import IGNORED, KITTI_CLASSES, S3DIS_CLASSES, Scans, load_scans
from experiments.data.streets import CLASSES, SENSOR_HEIGHT, make_scan
from experiments.models.voxel_unet import SparseConv, VoxelUNet, voxelise
from experiments.run.scenes import augment, loss_of, score


class TestStreets:
    def test_the_same_seed_gives_the_same_scan(self) -> None:
        first, second, other = make_scan(3, steps=90), make_scan(3, steps=90), make_scan(4, steps=90)
        assert np.array_equal(first.points, second.points)
        assert first.points.shape != other.points.shape or not np.array_equal(first.points, other.points)

    def test_labels_are_where_their_classes_are(self) -> None:
        scans = [make_scan(seed, steps=200) for seed in range(4)]
        points, labels = (np.concatenate(parts) for parts in zip(*scans, strict=True))
        assert set(labels.tolist()) == set(range(len(CLASSES)))
        height = points[:, 2] + SENSOR_HEIGHT

        def of(name: str) -> np.ndarray:
            return height[labels == CLASSES.index(name)]

        assert np.abs(of("road")).max() < 0.15
        assert np.abs(of("sidewalk") - 0.15).max() < 0.15
        assert of("car").max() < 2.0
        assert of("person").max() < 2.3
        assert of("building").max() > 3
        assert np.all(np.isfinite(points))
        assert 0 <= points[:, 3].min() <= points[:, 3].max() <= 1

    def test_a_scan_has_as_many_points_as_it_says(self) -> None:
        assert 10_000 < len(make_scan(0, steps=400).labels) < 30_000


class TestFormats:
    """Files as their data sets have them, written here."""

    def kitti(self, root: Path, sequence: str, number: int, points: int = 50) -> np.ndarray:
        folder = root / "sequences" / sequence
        for part in ("velodyne", "labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        rows = rng.normal(0, 10, (points, 4)).astype("<f4")
        rows.tofile(folder / "velodyne" / f"{number:06d}.bin")
        raw = rng.choice([0, 1, 10, 252, 40, 60, 99, 81], points).astype("<u4")
        (raw | (rng.integers(0, 900, points).astype("<u4") << 16)).tofile(folder / "labels" / f"{number:06d}.label")
        return raw

    def test_semantickitti(self, tmp_path: Path) -> None:
        raw = [self.kitti(tmp_path, "00", number) for number in range(3)]
        self.kitti(tmp_path, "08", 7)
        scans = load_scans("semantickitti", [tmp_path])
        assert (len(scans.train), len(scans.test), len(scans.classes)) == (3, 1, 19)
        names = list(KITTI_CLASSES)
        wanted = {0: IGNORED, 1: IGNORED, 99: IGNORED, 10: 0, 252: 0, 40: names.index("road"), 60: names.index("road")}
        wanted[81] = names.index("traffic-sign")
        assert scans.train_labels[1].tolist() == [wanted[each] for each in raw[1].tolist()]
        assert scans.train[0].shape == (50, 4)
        assert len(load_scans("semantickitti", [tmp_path], limit=2).train) == 2

    def test_s3dis(self, tmp_path: Path) -> None:
        for area in (1, 5):
            folder = tmp_path / f"Area_{area}" / "office_1" / "Annotations"
            folder.mkdir(parents=True)
            for name, count in (("chair_1", 5), ("wall_2", 7), ("stairs_1", 3)):
                lines = [f"{area + 0.1 * k:.3f} -2.5 {k} 255 0 51" for k in range(count)]
                (folder / f"{name}.txt").write_text("\n".join(lines))
        scans = load_scans("s3dis", [tmp_path])
        assert [S3DIS_CLASSES[k] for k in scans.train_labels[0].tolist()] == ["chair"] * 5 + ["clutter"] * 3 + [
            "wall"
        ] * 7
        assert scans.channels == 3
        torch.testing.assert_close(scans.train[0][1], torch.tensor([0.1, 0, 1, 1, 0, 0.2]))

    def test_sydney(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 80).astype(np.uint8)
        labels[::3] = 255
        np.savez(
            tmp_path / "sydney_scenes.npz", points=rng.integers(-100, 100, (80, 3)).astype(np.int16), labels=labels,
            scale=np.float64(0.005), intensity=rng.integers(0, 255, 80).astype(np.uint8),
            offsets=np.arange(0, 81, 10), classes=np.array(["car", "bus", "tree"]),
        )  # fmt: skip
        scans = load_scans("sydney", [tmp_path])
        assert (len(scans.train), len(scans.test)) == (6, 2)
        assert scans.classes == ("car", "bus", "tree")
        assert torch.equal(scans.train_labels[0], torch.from_numpy(labels[:10].astype(np.int64)))

    @pytest.mark.parametrize("name", ["semantickitti", "s3dis", "sydney"])
    def test_absent_files_are_named(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ExperimentError, match="is not in"):
            load_scans(name, [tmp_path])

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda folder: (folder / "velodyne" / "000000.bin").write_bytes(b"12345678"), "do not fit together"),
            (lambda folder: (folder / "labels" / "000000.label").unlink(), "cannot be read"),
            (lambda folder: np.full((50, 4), np.nan, "<f4").tofile(folder / "velodyne" / "000000.bin"), "damaged"),
        ],
    )
    def test_damage_is_named(self, spoil: Callable[[Path], object], words: str, tmp_path: Path) -> None:
        self.kitti(tmp_path, "00", 0)
        self.kitti(tmp_path, "08", 0)
        spoil(tmp_path / "sequences" / "00")
        with pytest.raises(ExperimentError, match=words):
            load_scans("semantickitti", [tmp_path])

    def test_a_damaged_room_is_named(self, tmp_path: Path) -> None:
        for area in (1, 5):
            (tmp_path / f"Area_{area}" / "hall_1" / "Annotations").mkdir(parents=True)
            (tmp_path / f"Area_{area}" / "hall_1" / "Annotations" / "wall_1.txt").write_text("1 2 three")
        with pytest.raises(ExperimentError, match=r"wall_1\.txt"):
            load_scans("s3dis", [tmp_path])


class TestModel:
    def test_a_convolution_is_that_of_a_dense_grid(self) -> None:
        cells = torch.cartesian_prod(torch.arange(2), *[torch.arange(4)] * 3)
        cells = cells[torch.rand(len(cells)) < 0.5]
        voxels = voxelise(cells)
        features = torch.randn(len(voxels.cells), 3)
        conv = SparseConv(3, 5).eval()
        dense = torch.zeros(2, 3, 4, 4, 4)
        scene, x, y, z = voxels.cells.unbind(1)
        dense[scene, :, x, y, z] = features
        weight = conv.linear.weight.unflatten(1, (3, 3, 3, 3)).movedim(4, 1)
        wanted = torch.nn.functional.conv3d(dense, weight, padding=1)[scene, :, x, y, z]
        torch.testing.assert_close(conv(features, voxels), conv.norm(wanted).relu())

    def test_scenes_do_not_see_each_other(self) -> None:
        model = VoxelUNet(4, width=4).eval()
        scenes = [3 * torch.randn(count, 4) for count in (60, 30)]
        together = model(scenes)
        torch.testing.assert_close(together, torch.cat([model([scene]) for scene in scenes]))
        assert together.shape == (90, 4)

    def test_coordinates_have_a_gradient(self) -> None:
        scene = torch.randn(50, 4).requires_grad_()
        VoxelUNet(3, width=4)([scene]).square().sum().backward()
        assert scene.grad is not None
        assert bool((scene.grad[:, :3] != 0).any())


def test_augmentation_keeps_shapes() -> None:
    scene = torch.randn(40, 4)
    changed = augment(scene, torch.Generator().manual_seed(0))
    before, after = (torch.cdist(each[:, :3], each[:, :3]) for each in (scene, changed))
    ratio = (after / before)[~torch.eye(40, dtype=torch.bool)]
    assert float(ratio.max() - ratio.min()) < 1e-4
    assert 0.95 <= float(ratio.mean()) <= 1.05
    assert torch.equal(changed[:, 3], scene[:, 3])
    torch.testing.assert_close(changed[:, 2] / scene[:, 2], ratio.mean().expand(40))


def test_scenes_that_nobody_has_annotated_teach_nothing() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = loss_of(logits, torch.full((4,), IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not bool(logits.grad.any())
    hard = torch.tensor([0, IGNORED, 2, 1])
    known = hard != IGNORED
    soft = torch.nn.functional.one_hot(hard.where(known, torch.tensor(0)), 3).float() * known[:, None]
    torch.testing.assert_close(loss_of(logits, hard), loss_of(logits, soft))


def test_a_run_that_fails_ends_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sceneseg", "--data", "sydney", "--data-root", str(tmp_path), "--output", str(tmp_path / "runs")]
    assert main(words) == 2
    assert "sydney_scenes.npz is not in" in capsys.readouterr().err


def test_miou_by_hand() -> None:
    class Constant(torch.nn.Module):
        def forward(self, scenes: list[torch.Tensor]) -> torch.Tensor:
            return torch.nn.functional.one_hot(scenes[0][:, 3].long(), 3).float()

    guess, labels = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, IGNORED, 0])
    scene = torch.cat([torch.zeros(5, 3), guess[:, None]], 1)
    scans = Scans("x", "x", ("a", "b", "c"), [scene], [labels], [scene], [labels])
    scores = score(Constant(), scans)
    assert scores["iou"] == {"a": pytest.approx(100 / 3), "b": 50.0}  # c is in no label
    assert scores["miou"] == pytest.approx((100 / 3 + 50) / 2)
    assert scores["accuracy"] == 50.0


def test_sceneseg(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.data import streets

    real = streets.make_scan
    monkeypatch.setattr(streets, "make_scan", lambda seed, steps=0: real(seed, rings=8, steps=40))

    class Here:  # in this process, where the scans are small
        def __init__(self, *args: object, **options: object) -> None: ...

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *error: object) -> None: ...

        def submit(self, function: Callable[..., object], *args: object) -> object:
            result = function(*args)
            return type("Done", (), {"result": staticmethod(lambda: result)})

    monkeypatch.setattr("experiments.commands.sceneseg.ProcessPoolExecutor", Here)
    words = ["sceneseg", "--limit", "2", "--epochs", "1", "--width", "4", "--output", str(tmp_path)]
    assert main([*words, "--seeds", "0", "1"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("vanilla", "mix3d", "lasermix", "polarmix", "sagemix"))
    assert all(name in shown for name in ("IoU of each class", "sidewalk", "person"))
    first = json.loads((tmp_path / "polarmix-s1.json").read_text())
    assert 0 <= first["miou"] <= 100
    assert main([*words, "--seeds", "1"]) == 0  # what is done is kept
    assert json.loads((tmp_path / "polarmix-s1.json").read_text()) == first
    assert main([*words[:-4], "--width", "8", "--output", str(tmp_path), "--seeds", "1"]) == 2
    assert "of another setting" in capsys.readouterr().err
    (tmp_path / "mix3d-s1.json").write_text("{")
    assert main([*words, "--seeds", "1"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--data", "nowhere"], "no data set of scenes"), (["--methods", "pointmixup"], "no method for scenes")],
)
def test_mistakes_are_one_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sceneseg", *words]) == 2
    assert says in capsys.readouterr().err
