"""Runs on two devices, and on two nodes of two."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.run.folder import LAST, RunFolder
from tests.experiments.tiny_runs import SLOWED, TINY, curve, wait


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
    wait((folder / "checkpoints" / LAST).is_file, *nodes, seconds=600)
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
        wait(lambda: RunFolder(folder).epochs_done() > done, process, seconds=300)
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
        wait((folder / "checkpoints" / LAST).is_file, process, seconds=180)
        process.terminate()
        _, said = process.communicate(timeout=120)  # until both have closed it
    assert process.returncode == 130
    assert said.count("stopped; what was saved is kept") == 2
    assert RunFolder(folder).read().status == "interrupted"


@pytest.mark.slow
def test_a_schedule_that_is_told_goes_on_as_it_began_on_two_devices(tmp_path: Path) -> None:
    overfits = ["--epochs", "30", "--width", "16", "--lr", "0.01", "--test-every", "30"]  # from epoch 22 on
    command = [*TINY[:-1], "sagemix:schedule=told", *overfits, "--devices", "2", "--output"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    subprocess.run([sys.executable, "-m", "experiments", *command, str(whole)], check=True, timeout=240)
    slowed = tmp_path / "slowed.py"  # a file, as the first process starts the second by its name
    slowed.write_text(SLOWED)
    with subprocess.Popen([sys.executable, str(slowed), *command, str(stopped)]) as process:
        wait(lambda: RunFolder(stopped).epochs_done() >= 24, process, seconds=240)
        process.terminate()
    assert process.returncode == 130
    assert RunFolder(stopped).epochs_done() < 30
    again = ["train", "--resume", str(stopped), "--devices", "2", "--accelerator", "cpu", "--threads", "1"]
    subprocess.run([sys.executable, "-m", "experiments", *again], check=True, timeout=240)
    assert curve(stopped) == curve(whole)
    found = [[record.overfit for record in RunFolder(folder).read().records] for folder in (stopped, whole)]
    assert found[0] == found[1]
    assert found[0][22] > 0
