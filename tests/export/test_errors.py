from __future__ import annotations

import pytest

from export import errors


def test_text_is_message_then_hint() -> None:
    error = errors.LoweringError("node 'a' (Sign) is odd", hint="use BipolarQuant", node="a", channel=3)
    assert str(error) == "node 'a' (Sign) is odd\nuse BipolarQuant"
    assert error.context == {"node": "a", "channel": 3}
    assert str(errors.InputError("no")) == "no"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InputError, 2),
        (errors.LoweringError, 2),
        (errors.GraphFileError, 2),
        (errors.CheckFailedError, 1),
        (errors.DivergenceError, 1),
        (errors.ToolError, 3),
    ],
)
def test_exit_statuses_are_a_contract(kind: type[errors.BitsiegeError], status: int) -> None:
    assert issubclass(kind, errors.BitsiegeError)
    assert kind("x").exit_status == status
