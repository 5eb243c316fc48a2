"""Runs as folders: killed and resumed, damaged, out of disk, on two devices; sweeps; evaluation; the recipes."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mixkit
from experiments.__main__ import main
from experiments.base.claims import claim
from experiments.base.errors import ExperimentError
from experiments.base.stopping import asked_to_stop, stopped_by_signals
from experiments.models import MODELS, create_model
from experiments.run import checkpoint
from experiments.run.checkpoint import FORMAT, seal
from experiments.run.config import Config, to_toml
from experiments.run.folder import LAST, RunFolder
from experiments.run.methods import parse_method
from experiments.run.mixing import Mixing
from experiments.run.recipe import load_recipe, recipe_names

TINY = [
    "pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--num-points", "32",
    "--limit", "64", "--width", "4", "--threads", "1", "--accelerator", "cpu", "--epochs", "4",
    "--method", "sagemix:saliency=bank",
]  # fmt: skip


def curve(folder: Path) -> list[tuple[float, dict[str, float]]]:
    return [(record.train_loss, record.scores) for record in RunFolder(folder).read().records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*TINY, "--output", str(folder)]) == 0
    return folder


def test_a_run_leaves_its_recipe_and_curve(whole: Path) -> None:
    result = RunFolder(whole).read()
    assert result.status == "complete"
    assert [record.epoch for record in result.records] == [1, 2, 3, 4]
    assert load_recipe(whole / "recipe.toml").resolve(None, {}) == result.config
    assert result.config.method == "sagemix:sigma=2.0,saliency=bank"
    summary = json.loads((whole / "summary.json").read_text(encoding="utf-8"))
    assert summary["final"] == result.records[-1].scores["accuracy"]
    assert any(path.name.startswith("events.") for path in (whole / "tensorboard").iterdir())


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_ends_as_if_it_had_not_been(whole: Path, tmp_path: Path, sign: signal.Signals) -> None:
    folder = tmp_path / "killed"
    # the third epoch's line is the sign that two checkpoints are behind it
    command = [sys.executable, "-c", SLOWED, *TINY, "--output", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (folder / "metrics.jsonl").is_file() or len((folder / "metrics.jsonl").read_text().splitlines()) < 2:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(sign)
        process.wait(60)
    assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    done = len(RunFolder(folder).read().records)
    assert 2 <= done < 4
    assert RunFolder(folder).read().status == ("running" if sign == signal.SIGKILL else "interrupted")
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(whole)
    assert RunFolder(folder).read().status == "complete"


@pytest.mark.parametrize("method", ["recursivemix", "sagemix:schedule=told"])
def test_a_resumed_run_goes_on_with_what_its_mixer_remembers(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch before, or how far the network overfits."""
    command, folder = [*TINY[:-1], method, "--output"], tmp_path / "stopped"
    assert main([*command, str(tmp_path / "whole")]) == 0
    save, written = checkpoint.save_checkpoint, list[str]()

    def save_two(path: Path, **content: Any) -> None:
        save(path, **content)
        written.append(path.name)
        if written.count(LAST) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", save_two)
        assert main([*command, str(folder)]) == 130
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(tmp_path / "whole")
    ends = [RunFolder(place).read().records[-1] for place in (folder, tmp_path / "whole")]
    assert ends[0].overfit == ends[1].overfit
    assert (ends[0].overfit is None) == (method == "recursivemix")


def test_a_schedule_that_nobody_tells_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = [*TINY[:-1], "sagemix:schedule=told", "--limit", "1300"]  # leaves 43 out: too few
    assert main([*command, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "nothing is held out that it could be told of: give --limit, or calibration in a recipe" in said
    assert main([*command, "--limit", "1200", "--epochs", "1", "--output", str(tmp_path / "other")]) == 0
    (record,) = RunFolder(tmp_path / "other").read().records
    assert record.overfit is not None


@pytest.mark.parametrize(
    ("text", "domain", "settings"),
    [
        ("sagemix:schedule=told", "image", {"p": 1.0, "theta": 8.0}),
        ("sagemix:schedule=told", "points", {"p": 1.0, "theta": 8.0}),
        ("sagemix:theta=20,schedule=told", "image", {"p": 1.0, "theta": 20.0}),
        ("sagemix:schedule=steady", "image", {"p": 1.0}),
        ("cutmix:schedule=told", "image", {"p": 1.0}),
    ],
)
def test_who_is_told_mixes_harder(text: str, domain: str, settings: dict[str, float]) -> None:
    spec = parse_method(text, domain)
    schedule = spec.schedule.make(80)
    mixer = mixkit.create_mixer(
        spec.name, domain, num_classes=2, model=nn.Identity(), **spec.options, schedule=schedule
    )
    begun = dict(vars(mixer.method))
    schedule.share = 0.5
    assert schedule.now() == {"p": 1, **({"theta": mixer.method.theta} if "theta" in settings else {})}
    schedule.tell(torch.ones(9), torch.zeros(9))
    assert schedule.now() == settings
    assert vars(mixer.method) == begun


SLOWED = """
import sys, time
from experiments.run import checkpoint
save = checkpoint.save_checkpoint
def slow(*args, **kwargs):
    save(*args, **kwargs)
    time.sleep(0.3)
checkpoint.save_checkpoint = slow
from experiments.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_signals_are_noted_and_a_second_interrupt_is_not_waited_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopped_by_signals():
        assert not asked_to_stop()
        for sign in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(sign)
            assert asked_to_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with stopped_by_signals():  # what was heard before or within is heard after
            assert asked_to_stop()
        assert asked_to_stop()
    assert not asked_to_stop()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_resumed_run_goes_on_as_it_began(whole: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["pointcloud", "--resume", str(whole), "--epochs", "9"]) == 2
    assert "is a run with epochs = 4, not 9" in capsys.readouterr().err
    assert main([*TINY, "--resume", str(whole)]) == 0  # the same command, whose method the recipe has completed
    assert main(["pointcloud", "--resume", str(whole), "--method", "sagemix:sigma=0.3"]) == 2
    assert "is a run with method" in capsys.readouterr().err
    assert main(["pointcloud", "--resume", str(whole.parent)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "flipped", "zeroed", "empty", "other"])
def test_a_damaged_checkpoint_is_one_sentence(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture, damage: str
) -> None:
    folder = tmp_path / "run"
    subprocess.run(["cp", "-r", str(whole), str(folder)], check=True)
    last = folder / "checkpoints" / LAST
    content = last.read_bytes()
    if damage == "other":
        buffer = io.BytesIO()
        state = {"model": {}, "optimizer": {}, "schedule": {}, "bank": None, "records": []}
        torch.save({"format": FORMAT, **state}, buffer)
        last.write_bytes(seal(buffer.getvalue()))
    else:
        middle = len(content) // 2
        spoiled = {
            "cut": content[:middle],
            "flipped": content[::-1],
            "zeroed": content[:middle] + bytes(64) + content[middle + 64 :],
            "empty": b"",
        }
        last.write_bytes(spoiled[damage])
    metrics = (folder / "metrics.jsonl").read_bytes()
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert ("damaged" if damage != "other" else "of another model") in error
    assert error.count("\n") == 1
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_a_full_disk_stops_the_run_and_keeps_what_was_saved(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    replaced = os.replace
    written: list[str] = []

    def full(source: Any, target: Any) -> None:
        if Path(target).name == LAST and len(written) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(Path(target).name) if Path(target).name == LAST else None
        replaced(source, target)

    monkeypatch.setattr(os, "replace", full)
    folder = tmp_path / "full"
    assert main([*TINY, "--output", str(folder)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "cannot be written: No space left on device; the run stops here and keeps what was saved" in out
    assert not list(folder.rglob("*.unfinished"))
    monkeypatch.setattr(os, "replace", replaced)
    assert len(RunFolder(folder).read().records) == 2
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(whole)


def test_missing_data_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for dataset in ("modelnet40", "scanobjectnn-obj-only"):
        command = ["pointcloud", "--dataset", dataset, "--data-root", str(tmp_path), "--output", str(tmp_path / "run")]
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_one_process_at_a_time(whole: Path, capsys: pytest.CaptureFixture) -> None:
    with claim(whole):
        assert main(["pointcloud", "--resume", str(whole), "--threads", "1", "--accelerator", "cpu"]) == 2
    assert "another process is training" in capsys.readouterr().err


# ---- two devices


@pytest.mark.parametrize("method", ["sagemix"])
def test_two_processes_train_as_one_that_mixes_within_the_same_halves(tmp_path: Path, method: str) -> None:
    command = [sys.executable, "-c", TWO_DEVICES, method]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = subprocess.run(
        [*command, "2", "shared"], capture_output=True, text=True, timeout=240, env=environment, cwd=tmp_path
    )
    assert two.returncode == 0, two.stderr[-2000:]
    one = subprocess.run(
        [*command, "2", "alone"], capture_output=True, text=True, timeout=240, env=environment, cwd=tmp_path
    )
    assert one.returncode == 0, one.stderr[-2000:]
    losses = [json.loads(run.stdout.strip().splitlines()[-1]) for run in (two, one)]
    assert len(losses[0]) == 8
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert len(set(losses[0])) == 8


@pytest.mark.slow
def test_two_nodes_of_two_processes_train_as_one_that_mixes_within_the_same_quarters(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_DEVICES, "sagemix", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NODES": "2"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    network = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    nodes = [
        subprocess.Popen([*command, "shared"], env={**environment, **network, "NODE_RANK": rank}, **pipes)
        for rank in ("0", "1")
    ]
    said = [node.communicate(timeout=400) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    one = subprocess.run([*command, "alone"], timeout=400, env=environment, check=True, **pipes)
    losses = [json.loads(out.strip().splitlines()[-1]) for out in (said[0][0], one.stdout)]
    assert len(losses[0]) == 8
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "child of the second"])
def test_a_process_of_two_nodes_that_dies_ends_all_and_the_run_goes_on(tmp_path: Path, victim: str) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "experiments", *TINY, "--epochs", "9000", "--devices", "2", "--nodes", "2"]
    network = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(
            [*command, "--output", str(folder)], env={**os.environ, **network, "NODE_RANK": rank},
            stderr=subprocess.PIPE, text=True,
        ) for rank in ("0", "1")
    ]  # fmt: skip
    deadline = time.monotonic() + 900
    while not (folder / "checkpoints" / LAST).is_file():
        assert all(node.poll() is None for node in nodes)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{nodes[1].pid}/task/{nodes[1].pid}/children").read_text().split()
    os.kill(nodes[0].pid if victim == "first" else int(children[0]), signal.SIGKILL)
    said = [node.communicate(timeout=300)[1] for node in nodes]
    assert all(node.returncode for node in nodes)
    told = said[1 if victim == "first" else 0]  # the other node's; Lightning ends the process whose child died
    assert "another process of this run has ended" in told
    assert "Traceback" not in told
    done = RunFolder(folder).epochs_done()
    command = [sys.executable, "-m", "experiments", "train", "--resume", str(folder), "--devices", "4"]
    with subprocess.Popen([*command, "--accelerator", "cpu", "--threads", "1"]) as process:
        while RunFolder(folder).epochs_done() <= done:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
    assert process.returncode == 130


TWO_DEVICES = """
import json, sys, os, warnings
warnings.filterwarnings("ignore")
import torch
from torch import nn
from lightning.fabric import Fabric
from experiments.run.config import Config
from experiments.data import load_data
from experiments.run.runner import set_up
from experiments.run.loop import MIXING, Watcher, seed_of, train

method, devices, nodes = sys.argv[1], int(sys.argv[2]), int(os.environ.get("NODES", 1))
config = Config(dataset="digits", model="pointnet", method=method, epochs=4, batch_size=32, lr=0.2, limit=64)

class Plain(nn.Module):  # neither BatchNorm nor dropout: halves of a batch do not see each other
    mixing_layers = ("input",)
    def __init__(self):
        super().__init__()
        self.point = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 32))
        self.head = nn.Linear(32, 10)
    def forward(self, points):
        return self.head(self.point(points).amax(1))

class InParts:  # one process that mixes as several would
    inside, bank, separable, clean_loss, seconds, mixed, follower = False, None, True, 0.0, 0.0, None, None
    def __init__(self, mixing):
        self.mixing, self.generator, self.others = mixing, self, [torch.Generator() for _ in range(devices * nodes)]
    def manual_seed(self, seed):
        self.epoch = getattr(self, "epoch", 0) + 1
        for rank, generator in enumerate(self.others):
            generator.manual_seed(seed_of(config.seed, MIXING, self.epoch, rank))
    def mix(self, batch, labels, keys, index):
        parts = []
        for generator, part in zip(self.others, torch.arange(len(batch)).chunk(devices * nodes)):
            self.mixing.generator = generator
            parts.append(self.mixing.mix(batch[part], labels[part], keys[part], None))
        return tuple(torch.cat(each) for each in zip(*parts))

def work(fabric):
    data = load_data("points", "digits", [], limit=64, num_points=32)
    torch.manual_seed(0)
    learner = set_up(fabric, config, data, Plain())
    if fabric.world_size == 1:
        learner.mixing = InParts(learner.mixing)
    losses = []
    train(fabric, learner, data, config, watcher=Watcher(step=losses.append))
    return losses

torch.set_num_threads(1)
if sys.argv[3] == "shared":
    fabric = Fabric(accelerator="cpu", devices=devices, num_nodes=nodes, strategy="ddp_fork")
    losses = fabric.launch(work)
else:
    losses = work(Fabric(accelerator="cpu", devices=1))
print(json.dumps(losses))
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_the_command_line_runs_on_two_devices(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "experiments", *TINY, "--epochs", "1", "--devices", "2", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert RunFolder(folder).read().status == "complete"
    assert len(list(tmp_path.iterdir())) == 1


def test_one_device_that_is_told_to_stop_stops_all(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "experiments", *TINY, "--epochs", "9000", "--devices", "2"]
    with subprocess.Popen([*command, "--output", str(folder)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 180
        while not (folder / "checkpoints" / LAST).is_file():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        _, said = process.communicate(timeout=120)  # until both have closed it
    assert process.returncode == 130
    assert said.count("stopped; what was saved is kept") == 2
    assert RunFolder(folder).read().status == "interrupted"


# ---- sweeps, reports, evaluation


def test_a_process_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla",
        "--num-points", "32", "--limit", "64", "--epochs", "1", "--threads", "1", "--accelerator", "tpu", "--jobs", "2",
        "--output", str(folder),
    ]  # fmt: skip
    assert main(sweep) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "its process ended with code 2, saying: error: cannot run on 1 x tpu" in out
    assert "log.txt" in out


@pytest.mark.slow
def test_a_stopped_sweep_stops_its_processes(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla", "mixup",
        "--limit", "64", "--num-points", "32", "--width", "4", "--epochs", "5000", "--threads", "1",
        "--accelerator", "cpu", "--jobs", "2", "--output", str(folder),
    ]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "experiments", *sweep], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 180
        while len(list(folder.rglob("last.ckpt"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 130
    for path in folder.rglob("recipe.toml"):
        claim(path.parent).close()  # nobody trains there
        assert RunFolder(path.parent).read().status == "interrupted"


@pytest.mark.slow
def test_a_sweep_on_two_devices_ends_in_one_report(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "sagemix",
        "--limit", "64", "--num-points", "32", "--width", "4", "--epochs", "1", "--threads", "1",
        "--accelerator", "cpu", "--devices", "2", "--output", str(folder),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "experiments", *sweep], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "complete"
    assert summary["rows"][0]["scores"]["final"]["mean"] > 0


def test_a_sweep_skips_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet",
        "--methods", "vanilla", "pointmixup",
        "--seeds", "0", "1", "--num-points", "32", "--limit", "64", "--width", "4", "--threads", "1", "--epochs", "2",
        "--accelerator", "cpu", "--output", str(folder),
    ]  # fmt: skip
    assert main([*sweep, "--seeds", "0"]) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("last.ckpt")}
    assert len(before) == 2
    capsys.readouterr()
    assert main([*sweep, "--resume"]) == 0
    out = capsys.readouterr().out
    assert out.count("done before") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [(row["method"], row["seeds"]) for row in summary["rows"]] == [("vanilla", [0, 1]), ("pointmixup", [0, 1])]
    assert main([*sweep, "--resume", "--lr", "0.5"]) == 2
    assert "holds a run of another configuration" in capsys.readouterr().err
    assert main([*sweep, "--resume", "--methods", "mixup", "--seeds", "3", "4", "--jobs", "2"]) == 0
    assert len(list(folder.rglob("last.ckpt"))) == 6
    assert main(["report", str(folder), "--output", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    for label in ("vanilla", "pointmixup", "mixup"):
        assert label in page
    assert main(["report", str(tmp_path / "nothing")]) == 2


def test_evaluation_meets_every_corruption(whole: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(whole), "--robustness", "--threads", "1", "--accelerator", "cpu"]) == 0
    scores = json.loads((whole / "evaluation.json").read_text(encoding="utf-8"))["scores"]
    assert scores["clean"] == pytest.approx(RunFolder(whole).read().records[-1].scores)
    assert {"noise 0.05", "rotate-z 180", "rotate-z uniform", "scale 2.0", "drop 50 %"} <= set(scores)
    assert "drop 50 %" in capsys.readouterr().out


# ---- recipes


def test_every_recipe_resolves_for_all_that_it_names() -> None:
    assert {f"table{number}" for number in (2, 3, 4, 5, 6, 8, 9, 10, 11)} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        datasets = recipe.sweep.get("datasets", [recipe.defaults.get("dataset")])
        models = recipe.sweep.get("models", [recipe.defaults.get("model")])
        for dataset in datasets if name != "short" else ():
            for model in models:
                assert model in MODELS
                for method in recipe.sweep["methods"]:
                    for variant in ("paper", "equal"):
                        given = {"dataset": dataset, "model": model, "method": method}
                        config = recipe.resolve(variant, given)
                        parse_method(config.method, config.domain)
                        authors = name.startswith("table") and variant == "paper" and config.domain == "points"
                        smooth = authors and method in ("vanilla", "rsmix")
                        assert config.label_smoothing == (0.2 if smooth else 0)


def test_the_papers_settings() -> None:
    point = load_recipe("table2").resolve("paper", {"dataset": "modelnet40", "model": "pointnet", "method": "sagemix"})
    assert (point.epochs, point.batch_size, point.optimizer, point.lr) == (500, 32, "adam", 1e-3)
    assert point.method == "sagemix:sigma=2.0"
    graph = load_recipe("table3").resolve("paper", {"method": "sagemix:theta=1.0"})
    assert (graph.dataset, graph.optimizer, graph.lr, graph.min_lr) == ("scanobjectnn-obj-only", "sgd", 0.1, 1e-3)
    assert graph.method == "sagemix:theta=1.0"
    image = load_recipe("table11").resolve("paper", {})
    assert (image.epochs, image.batch_size, image.loss, image.milestones) == (300, 128, "bce", (100, 200))


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = Config(dataset="digits", model="dgcnn", epochs=3, batch_size=8, lr=0.1, milestones=(1, 2), nesterov=True)
    (tmp_path / "recipe.toml").write_text(to_toml(config))
    assert load_recipe(tmp_path / "recipe.toml").resolve(None, {}) == config


def test_resolution_is_that_of_the_saliency_pass_and_keeps_the_loss() -> None:
    spec = parse_method("sagemix:resolution=0.5", "points")
    model = create_model("pointnet", channels=3, num_classes=4, width=4)
    about = {"num_samples": 8, "num_elements": 32, "epochs": 3, "autocast": contextlib.nullcontext}
    mixing = Mixing(spec, "points", num_classes=4, model=model, loss=F.multi_margin_loss, **about)
    saliency = mixing.mixer.saliency
    assert isinstance(saliency, mixkit.GradientSaliency)
    assert (saliency.resolution, saliency.loss, saliency.model) == (0.5, F.multi_margin_loss, model)
    assert spec.label == "sagemix (resolution 0.5)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "table1"], "unknown recipe 'table1'"),
        (["--set", "smoothing=0.1"], "unknown name 'smoothing'"),
        (["--set", "loss=hinge"], "loss is one of cross-entropy, bce"),
        (["--set", "nesterov"], "NAME=VALUE"),
        (["--set", "gamma=a b"], "gamma must be a number, got 'a b'"),
        (["--set", "precision=16"], "precision is one of 32, bf16"),
        (["--method", "mixup:saliency=bank"], "no saliency of its own to remember"),
        (["--method", "mixup:resolution=0.5"], "makes no saliency pass of its own"),
        (["--method", "sagemix:resolution=2"], "resolution must be above 0 and at most 1"),
        (["--method", "sagemix:resolution=0.5,saliency=bank"], "resolution is that of the gradient"),
        (["--method", "sagemix:sharpness=0"], "sharpness must be > 0"),
        (["--method", "sagemix:sharpness=a"], "sharpness must be a number, got 'a'"),
        (["--method", "sagemix:resolution=a"], "resolution must be a number, got 'a'"),
        (["--model", "pointnet3"], "pointnet3"),
        (["--model", "pointnet3", "--batch-size", "8", "--lr", "1"], "no model 'pointnet3'"),
        (
            ["--model", "dgcnn_partseg", "--batch-size", "8", "--lr", "1", "--method", "manifold_mixup"],
            "for whole samples, not for parts",
        ),
        (["--method", "sagemix:sigma"], "options are written name:option=value, got 'sigma'"),
        (["--method", "sagemix:sigma=1,sigma=2"], "sigma is given twice"),
        (["--method", "sagemix:adaptive=0.4,schedule=mwh"], "takes no schedule beside it"),
        (["--method", "puzzlemix"], "unknown method 'puzzlemix' for points"),
        (["--method", "sagemix:space=middle"], "space is one of input, feature"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert main([*TINY, *options, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_recipe(capsys: pytest.CaptureFixture) -> None:
    assert main([*TINY, "--set", "label_smoothing=0.2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "label_smoothing = 0.2" in out
    assert 'model = "pointnet"' in out


def test_a_broken_recipe_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = = 3")
    with pytest.raises(ExperimentError, match=r"mine\.toml is not a TOML file"):
        load_recipe(tmp_path / "mine.toml")


def test_data_are_fetched_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    archive = tmp_path / "modelnet40.zip"
    archive.write_bytes(b"not what it should be")
    command = [
        "pointcloud",
        "--dataset",
        "modelnet40",
        "--data-root",
        str(tmp_path / "data"),
        "--output",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--download", archive.as_uri()]) == 2
    assert "md5" in capsys.readouterr().err
