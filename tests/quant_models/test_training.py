from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.errors import InputError
from quant_models.checkpoint import load_checkpoint
from quant_models.data import Dataset
from quant_models.layers import BinaryLinear
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec
from quant_models.training import EpochReport, TrainConfig, accuracy, train

_SPEC = MlpSpec(name="any", input_shape=(4, 4, 1), hidden=(24, 16), classes=4)
_CONFIG = TrainConfig(
    epochs=5,
    batch_size=20,
    learning_rate=0.02,
    validation_fraction=0.2,
    shift_pixels=0.2,
    rotate_degrees=2.0,
    zoom=0.02,
    seed=3,
)


class _KilledError(Exception):
    pass


def _arrays_equal(first: Path, second: Path) -> bool:
    one, two = load_checkpoint(first).arrays, load_checkpoint(second).arrays
    return set(one) == set(two) and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("mode", ["binary", "uint8"])
def test_it_learns(tmp_path: Path, make_dataset: Any, mode: Any) -> None:
    dataset = make_dataset(train=600, test=200)
    spec = replace(_SPEC, input_mode=mode, hidden=(64,), output_affine=mode == "uint8")
    config = replace(_CONFIG, epochs=30)
    path = tmp_path / "a.safetensors"
    result = train(spec, dataset, config, checkpoint=path, command="bitsiege train a.toml")
    assert result.test_accuracy > 0.8
    loaded = load_checkpoint(path)
    assert loaded.spec == spec
    assert loaded.metadata == result.metadata
    assert loaded.metadata.command == "bitsiege train a.toml"
    assert accuracy(loaded.build(), dataset.test) == result.test_accuracy
    assert not list(tmp_path.glob("*.training.safetensors"))


def test_same_seed_same_bytes_other_seed_other_weights(tmp_path: Path, make_dataset: Any) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        torch.rand(7)
        train(_SPEC, make_dataset(), replace(_CONFIG, seed=seed), checkpoint=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not _arrays_equal(paths[0], paths[2])


@pytest.mark.parametrize("stop_after", [1, 3, 5])
@pytest.mark.parametrize("affine", [False, True])
def test_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, make_dataset: Any, stop_after: int, affine: bool
) -> None:
    spec = replace(_SPEC, output_affine=affine)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train(spec, make_dataset(), _CONFIG, checkpoint=whole)

    def kill(report: EpochReport) -> None:
        if report.epoch == stop_after:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(spec, make_dataset(), _CONFIG, checkpoint=parts, progress=kill, save_every_s=0)
    assert not parts.exists()
    seen: list[int] = []
    result = train(
        spec, make_dataset(), _CONFIG, checkpoint=parts, progress=lambda report: seen.append(report.epoch)
    )
    assert result.resumed_at == stop_after
    assert seen == list(range(stop_after + 1, 6))
    assert parts.read_bytes() == whole.read_bytes()


def test_real_weights_at_first_end_as_signs(
    tmp_path: Path, make_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(train=200, test=50)
    config = replace(_CONFIG, real_weight_epochs=2, validation_fraction=0.0)
    seen: list[set[bool]] = []
    multiply = BinaryLinear.inner_forward_impl

    def spy(layer: Any, x: Any, weight: Any, *rest: Any) -> Any:
        if layer.training:
            seen[-1].add(bool((getattr(weight, "value", weight).abs() == 1).all()))
        return multiply(layer, x, weight, *rest)

    def stop(report: EpochReport) -> None:
        seen.append(set())

    monkeypatch.setattr(BinaryLinear, "inner_forward_impl", spy)
    seen.append(set())
    result = train(_SPEC, dataset, config, checkpoint=tmp_path / "a.safetensors", progress=stop)
    assert seen[:5] == [{False}, {False}, {True}, {True}, {True}]
    assert accuracy(load_checkpoint(tmp_path / "a.safetensors").build(), dataset.test) == result.test_accuracy


def test_state_of_another_training_is_not_resumed(tmp_path: Path, make_dataset: Any) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"

    def kill(report: EpochReport) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        train(_SPEC, make_dataset(), _CONFIG, checkpoint=path, progress=kill, save_every_s=0)
    for changed in (replace(_CONFIG, seed=9), replace(_CONFIG, learning_rate=0.01)):
        assert train(_SPEC, make_dataset(), changed, checkpoint=other).resumed_at == 0
    saved = tmp_path / "a.training.safetensors"
    for content in (b"", saved.read_bytes()[:-10], b"x" * 200):
        saved.write_bytes(content)
        assert train(_SPEC, make_dataset(), _CONFIG, checkpoint=path).resumed_at == 0


_VICTIM = """
import sys
from pathlib import Path
from quant_models.data import load_dataset
from quant_models.spec import MlpSpec
from quant_models.training import TrainConfig, train
spec = MlpSpec(name="any", input_shape=(8, 8, 1), hidden=(32,), classes=10)
config = TrainConfig(epochs=int(sys.argv[2]), learning_rate=0.01)
train(spec, load_dataset("digits"), config, checkpoint=Path(sys.argv[1]), save_every_s=0)
"""


def test_killed_process_leaves_a_state_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = tmp_path / "a.training.safetensors"
    victim = subprocess.Popen([sys.executable, "-W", "ignore", "-c", _VICTIM, str(path), "100000"])
    try:
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert state.exists()
    assert not path.exists()

    def stop(report: EpochReport) -> None:
        raise _KilledError(report.epoch)

    from quant_models.data import load_dataset

    spec = MlpSpec(name="any", input_shape=(8, 8, 1), hidden=(32,), classes=10)
    config = TrainConfig(epochs=100000, learning_rate=0.01)
    with pytest.raises(_KilledError) as caught:
        train(spec, load_dataset("digits"), config, checkpoint=path, progress=stop)
    assert caught.value.args[0] > 1


def test_early_stop(tmp_path: Path, make_dataset: Any) -> None:
    config = replace(_CONFIG, epochs=400, patience=4, learning_rate=1e-6)
    result = train(_SPEC, make_dataset(), config, checkpoint=tmp_path / "a.safetensors")
    assert result.epochs < 400
    assert result.epochs == result.best_epoch + 4


def test_test_images_do_not_matter(tmp_path: Path, make_dataset: Any) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    dataset = make_dataset()
    train(_SPEC, dataset, _CONFIG, checkpoint=first)
    other = Dataset(
        name=dataset.name,
        classes=dataset.classes,
        train=dataset.train,
        test=dataset.test.take(np.arange(3)),
    )
    train(_SPEC, other, _CONFIG, checkpoint=second)
    assert _arrays_equal(first, second)


def test_caller_keeps_random_state_and_threads(tmp_path: Path, make_dataset: Any) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(_SPEC, make_dataset(), replace(_CONFIG, threads=2), checkpoint=tmp_path / "a.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_adversarial_training_runs_and_is_resumable_in_kind(tmp_path: Path, make_dataset: Any) -> None:
    config = replace(_CONFIG, epochs=2, adversarial_epsilon=0.1)
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in paths:
        train(_SPEC, make_dataset(), config, checkpoint=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_misfit_is_refused(tmp_path: Path, make_dataset: Any) -> None:
    for changes in ({"classes": 5}, {"input_shape": (4, 4, 3)}):
        with pytest.raises(InputError, match="network any takes"):
            train(replace(_SPEC, **changes), make_dataset(), _CONFIG, checkpoint=tmp_path / "a.safetensors")


def test_divergence_is_an_error(tmp_path: Path, make_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"

    def broken(images: torch.Tensor, **_limits: float) -> torch.Tensor:
        return images * float("nan")

    monkeypatch.setattr("quant_models.training.random_affine", broken)
    monkeypatch.setattr(
        "torch.nn.functional.cross_entropy", lambda logits, _labels: logits.sum() * float("nan")
    )
    with pytest.raises(InputError, match="training diverged in epoch 1"):
        train(_SPEC, make_dataset(), _CONFIG, checkpoint=path)
    assert not path.exists()


def test_accuracy_takes_the_first_of_equal_logits(make_dataset: Any) -> None:
    spec = MlpSpec(name="any", input_shape=(4, 4, 1), hidden=(), classes=4)
    model = build_model(spec)
    with torch.no_grad():
        model.classifier.weight.fill_(1.0)
    images = make_dataset().test
    assert accuracy(model.eval(), images) == np.mean(images.labels == 0)
