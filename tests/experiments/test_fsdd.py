"""Spoken digits: the sample that comes with the code, waveforms, spectrograms, shifts, corruptions, messages."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data import fsdd, load_data
from experiments.data.corruptions import COMPARED, corrupted
from experiments.data.sound import (
    decode_mulaw,
    fit_length,
    late,
    log_mel,
    mel_filters,
    shift_in_time,
    silence_span,
)
from experiments.models import create_model

TINY = ["--threads", "1", "--jobs", "1", "--epochs", "1", "--width", "2", "--limit", "40", "--batch-size", "20"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_sample_is_split_as_the_data_set_is() -> None:
    stored = np.load(fsdd.SAMPLE / fsdd.FILE)
    assert (fsdd.SAMPLE / fsdd.FILE).stat().st_size < 1.5e6
    assert np.array_equal(stored["test"], stored["index"] < 5)
    assert "CC BY-SA 4.0" in (fsdd.SAMPLE / "README.md").read_text(encoding="utf-8")
    waves = load_data("sequence", "fsdd-sample", [])
    spectrograms = load_data("spectrogram", "fsdd-sample", [])
    assert (waves.train.shape, waves.test.shape) == ((180, 1, 4096), (180, 1, 4096))
    assert (spectrograms.train.shape, spectrograms.channels) == ((180, 1, 32, 32), 1)
    for data in (waves, spectrograms):
        assert torch.bincount(data.train_labels).tolist() == torch.bincount(data.test_labels).tolist() == [18] * 10
    for i in (0, 77, 179):
        k = np.flatnonzero(~stored["test"])[i]
        assert waves.train_labels[i] == int(stored["labels"][k])
        sound = waves.train[i, 0].double()
        length = int(stored["offsets"][k + 1] - stored["offsets"][k])
        heard = sound[(4096 - length) // 2 :][:length]
        assert heard.square().mean().sqrt() == pytest.approx(1, abs=1e-2)
        assert sound.square().sum() == pytest.approx(float(heard.square().sum()))  # all else is silent
        own = decode_mulaw(torch.from_numpy(stored["audio_mulaw"][stored["offsets"][k] :][:length])).double()
        torch.testing.assert_close(heard, own / own.square().mean().sqrt(), atol=2e-2, rtol=2e-3)
    assert 0.5 < waves.prepare(waves.train).std() < 1.5
    mean, deviation = spectrograms.prepare(spectrograms.train).mean(), spectrograms.prepare(spectrograms.train).std()
    assert (abs(float(mean)) < 0.2, 0.8 < float(deviation) < 1.2) == (True, True)


def test_mulaw_is_decoded_as_its_formula_says() -> None:
    for byte, amplitude in zip((0, 64, 127, 128, 255), decode_mulaw(torch.tensor([0, 64, 127, 128, 255])), strict=True):
        y = byte / 127.5 - 1
        assert float(amplitude) == pytest.approx(math.copysign((256 ** abs(y) - 1) / 255, y), rel=1e-4)


def test_recordings_lie_in_the_middle() -> None:
    assert fit_length(torch.tensor([3.0, -3.0]), 6).tolist() == [0, 0, 1, -1, 0, 0]
    assert fit_length(torch.tensor([9.0, 2.0, -2.0, 2.0, 9.0]), 3).tolist() == [1, -1, 1]
    assert fit_length(torch.zeros(3), 5).tolist() == [0] * 5


def test_a_tone_is_loud_in_the_band_that_holds_it() -> None:
    filters = mel_filters(32, 129, 8000)
    for frequency in (500, 1000, 2500):
        wave = torch.sin(2 * math.pi * frequency * torch.arange(4096) / 8000)[None, None]
        found = log_mel(wave)
        assert found.shape == (1, 1, 32, 32)
        nearest = filters[:, round(frequency / 8000 * 256)].argmax()
        assert abs(int(found[0, 0, :, 16].argmax()) - int(nearest)) <= 1
    assert log_mel(torch.zeros(1, 1, 4096)).abs().max() == 0


def test_log_mel_is_what_a_loop_finds() -> None:
    wave = torch.randn(1, 1, 1024)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 256) for n in range(256)]
    padded = np.concatenate([np.zeros(128), wave[0, 0].numpy(), np.zeros(128)])
    filters = mel_filters(32, 129, 8000).numpy()
    found = log_mel(wave)
    for frame in (0, 3, 7):
        spectrum = np.fft.rfft(padded[128 * frame :][:256] * window)
        energy = filters @ (np.abs(spectrum) ** 2 / 256)
        np.testing.assert_allclose(found[0, 0, :, frame], np.log(energy + 1e-3) - math.log(1e-3), atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 2, 40), (6, 1, 4, 24)])
def test_a_shift_says_where_everything_came_from(shape: tuple[int, ...]) -> None:
    samples = torch.rand(shape) + 1
    moved, index = shift_in_time(samples, generator())
    count = math.prod(shape[2:])
    assert index.shape == (6, count)
    given, got = samples.flatten(2), moved.flatten(2)
    for b in range(6):
        for e in range(count):
            source = int(index[b, e])
            expected = torch.zeros(shape[1]) if source < 0 else given[b, :, source]
            assert torch.equal(got[b, :, e], expected)
    assert len({int((row < 0).sum()) for row in index}) > 1
    assert (index < 0).float().mean(1).max() <= 1 / 8


def test_corruptions_of_sound() -> None:
    samples = torch.rand(40, 1, 8, 16) + 1
    moved = late(samples, generator(), share=0.25)
    for own, other in zip(samples, moved, strict=True):
        there, back = torch.zeros_like(own), torch.zeros_like(own)
        there[..., 4:], back[..., :12] = own[..., :12], own[..., 4:]
        assert torch.equal(other, there) or torch.equal(other, back)
    for axis in (-1, -2):
        silent = silence_span(samples, generator(), share=0.25, axis=axis) == 0
        assert (silent.any(axis).flatten(1).float().mean(1) == 1).all()
        assert (silent.float().mean((1, 2, 3)) == 0.25).all()
    for domain in ("sequence", "spectrogram"):
        data = load_data(domain, "fsdd-sample", [], limit=20)
        assert len(COMPARED[domain]) == 4
        for corrupt in COMPARED[domain].values():
            one = corrupted(data, data.test, corrupt, 0)
            assert one.shape == data.test.shape
            assert not torch.equal(one, data.prepare(data.test))
            assert torch.equal(one, corrupted(data, data.test, corrupt, 0))


def test_the_model_takes_sequences_of_any_length() -> None:
    model = create_model("resnet1d", channels=2, num_classes=5, width=4)
    for length in (64, 1000, 4096):
        assert model(torch.randn(3, 2, length)).shape == (3, 5)
    assert model.layer2(model.layer1(model.stem(torch.randn(1, 2, 4096)))).shape == (1, 8, 256)


def test_files_that_are_absent_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"fsdd.npz is not in .*fsdd-sample, which comes with the code"):
        load_data("sequence", "fsdd", [tmp_path])
    shutil.copy(fsdd.SAMPLE / fsdd.FILE, tmp_path)
    assert len(load_data("sequence", "fsdd", [tmp_path]).test) == 180
    stored = dict(np.load(fsdd.SAMPLE / fsdd.FILE))
    for name, value, message in (
        ("offsets", stored["offsets"][:-1], "is not the expected file"),
        ("offsets", stored["offsets"][::-1], "is damaged"),
        ("labels", stored["labels"] + 5, "is damaged"),
        ("labels", stored["labels"].astype(float), "labels of float64"),
        ("rate", np.int32(16000), "is damaged"),
        ("test", np.ones_like(stored["test"]), "is damaged"),
    ):
        np.savez(tmp_path / fsdd.FILE, **{**stored, name: value})
        with pytest.raises(ExperimentError, match=message):
            load_data("spectrogram", "fsdd", [tmp_path])


def test_both_domains_of_sound_are_compared_by_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "run"
    sound = [
        "--domains",
        "sequence",
        "spectrogram",
        "--seeds",
        "0",
        "--methods",
        "manifold_mixup",
        "sagemix:saliency=bank",
    ]
    assert main(["compare", *sound, *TINY, "--output", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["arms"]) == ["fsdd-sample-resnet1d", "fsdd-sample-spectrogram_resnet18"]
    for arm in summary["arms"]:
        rows = [row for row in summary["rows"] if row["arm"] == arm]
        assert [row["method"] for row in rows] == ["vanilla", "manifold_mixup", "sagemix (bank)"]
        assert all("corrupted" in row["scores"] and row["ended"] == 1 for row in rows)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "One engine, two domains" in page
    assert "ResNet1d on spoken digits (sample) (steps)" in page
    assert "40 spectrograms of spoken digits" in page
    assert main(["evaluate", str(out / "fsdd-sample-resnet1d"), "--robustness", "--threads", "1"]) == 0
    run = str(next((out / "fsdd-sample-resnet1d").glob("vanilla*")))
    assert main(["figures", "--run", run, "--output", str(tmp_path / "figures")]) != 0
    assert "is of sequences: the figures show images and points" in capsys.readouterr().err
