from __future__ import annotations

from typing import Any

import pytest

from export.errors import InputError
from quant_models.trainconfig import TrainConfig, learning_rate


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
