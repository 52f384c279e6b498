from __future__ import annotations

from typing import Any

import pytest

from export.errors import InputError
from quant_models.trainconfig import TrainConfig, adversarial_radius, learning_rate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_epochs", 61.0),
        ("real_weight_epochs", 60),
        ("patience", -1),
        ("validation_fraction", 0.6),
        ("shift_pixels", -1.0),
        ("rotate_degrees", 181.0),
        ("zoom", 1.0),
        ("adversarial_epsilon", 1.5),
        ("adversarial_steps", 0),
        ("adversarial_step_size", -0.1),
        ("adversarial_delay", 60),
        ("adversarial_ramp", 61.0),
        ("adversarial_share", 0.0),
        ("distill_temperature", 0.0),
        ("distill_share", 1.5),
        ("sign_noise", -1.0),
        ("sign_noise_kind", "laplace"),
        ("recalibration_images", 1),
        ("recalibration_images", -1),
        ("seed", -1),
        ("threads", 0),
    ],
)
def test_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"train\.{field}: .* out of range"):
        TrainConfig(**{field: value})


def test_patience_needs_a_hold_out() -> None:
    with pytest.raises(InputError, match="patience"):
        TrainConfig(patience=3, validation_fraction=0.0)


def test_learning_rate_rises_and_falls() -> None:
    config = TrainConfig(epochs=10, warmup_epochs=2.0, learning_rate=0.1)
    rates = [learning_rate(config, epoch / 4) for epoch in range(41)]
    peak = rates.index(max(rates))
    assert peak == 8
    assert rates[:9] == sorted(rates[:9])
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert 0 < rates[0] < 1e-3
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_radius_waits_rises_and_stays() -> None:
    config = TrainConfig(epochs=8, adversarial_epsilon=0.3, adversarial_delay=2, adversarial_ramp=2.0)
    radii = [adversarial_radius(config, epoch / 2) for epoch in range(17)]
    assert radii[:4] == [0.0] * 4
    assert radii[4:9] == pytest.approx([0.0, 0.075, 0.15, 0.225, 0.3])
    assert radii[8:] == [0.3] * 9


def test_radius_without_ramp_is_there_at_once() -> None:
    assert adversarial_radius(TrainConfig(adversarial_epsilon=0.1), 0.0) == 0.1
