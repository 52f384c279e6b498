from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from export.errors import InputError
from quant_models.checkpoint import load_checkpoint
from quant_models.data import Dataset
from quant_models.mlp import build_model
from quant_models.objective import Objective, load_teacher, teacher_path
from quant_models.spec import MlpSpec
from quant_models.trainconfig import TrainConfig
from quant_models.training import train
from quant_models.zoo import shipped_path

_SPEC = MlpSpec(name="t", input_shape=(4, 4, 1), hidden=(16,), classes=4, input_mode="uint8")


def _objective(teacher: Any = None, **settings: Any) -> Objective:
    return Objective(build_model(_SPEC), TrainConfig(**settings), teacher, torch.contiguous_format)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 3, 0, 1])


def test_labels_alone_give_cross_entropy() -> None:
    objective = _objective()
    images, labels = _batch()
    expected = functional.cross_entropy(objective.model(images), labels)
    assert torch.equal(objective.loss(images, labels, 0.0), expected)


def test_distance_to_the_teacher() -> None:
    teacher = build_model(_SPEC).eval()
    objective = _objective(teacher, distill_temperature=3.0, distill_share=0.25)
    images, labels = _batch()
    logits = objective.model(images)
    soft = (teacher(images) / 3).softmax(1)
    taught = -9 * (soft * (logits / 3).log_softmax(1)).sum(1).mean()
    expected = 0.25 * taught + 0.75 * functional.cross_entropy(logits, labels)
    torch.testing.assert_close(objective.loss(images, labels, 0.0), expected)


def test_shares_of_clean_and_adversarial_images() -> None:
    images, labels = _batch()
    found = []
    for share in (0.25, 1.0):
        torch.manual_seed(2)
        objective = _objective(adversarial_epsilon=0.2, adversarial_share=share)
        found.append(float(objective.loss(images, labels, 0.2).detach()))
    torch.manual_seed(2)
    clean = float(_objective().loss(images, labels, 0.0).detach())
    assert clean < found[0] < found[1]


def test_student_learns_what_the_teacher_says_and_not_the_labels(tmp_path: Path, make_dataset: Any) -> None:
    dataset: Dataset = make_dataset(train=300)
    teacher = train(
        _SPEC, dataset, TrainConfig(epochs=15, batch_size=20), checkpoint=tmp_path / "teacher.safetensors"
    )
    assert teacher.test_accuracy > 0.8
    wrong = replace(dataset.train, labels=(dataset.train.labels + 1) % 4)
    config = TrainConfig(
        epochs=15,
        batch_size=20,
        validation_fraction=0.0,
        teacher=str(teacher.checkpoint),
        distill_share=1.0,
    )
    student = train(_SPEC, replace(dataset, train=wrong), config, checkpoint=tmp_path / "s.safetensors")
    assert student.test_accuracy > 0.8
    assert load_checkpoint(student.checkpoint).metadata.config["teacher"] == str(teacher.checkpoint)


def test_another_teacher_is_another_training(tmp_path: Path, make_dataset: Any) -> None:
    dataset = make_dataset()
    teacher = tmp_path / "teacher.safetensors"
    config = TrainConfig(epochs=2, batch_size=20, teacher=str(teacher))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    resumed = []
    for seed in (1, 1, 2):
        train(_SPEC, dataset, TrainConfig(epochs=1, batch_size=20, seed=seed), checkpoint=teacher)
        student = tmp_path / "student.safetensors"
        with pytest.raises(KeyboardInterrupt):
            train(_SPEC, dataset, config, checkpoint=student, progress=stop, save_every_s=0.0)
        if seed == 2:
            resumed.append(train(_SPEC, dataset, config, checkpoint=student).resumed_at)
    # The first two calls were one training, the third began anew.
    assert resumed == [1]


def test_teacher_names() -> None:
    assert teacher_path("tfc-mnist") == shipped_path("tfc-mnist")
    assert teacher_path("runs/a.safetensors") == Path("runs/a.safetensors")
    assert load_teacher(TrainConfig(), build_model(_SPEC)) is None


def test_bad_teachers_are_refused(tmp_path: Path) -> None:
    student = build_model(_SPEC)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_teacher(TrainConfig(teacher=str(tmp_path / "none.safetensors")), student)
    with pytest.raises(InputError, match=r"tfc-mnist takes images \(28, 28, 1\)"):
        load_teacher(TrainConfig(teacher="tfc-mnist"), student)
