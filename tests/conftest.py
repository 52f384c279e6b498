"""Fixtures that every part's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "bitsiege",
    deadline=None,
    derandomize="CI" in os.environ,  # noqa: TID251  a failure in CI must be the same on the next run
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("bitsiege")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The local folder with MNIST and Fashion-MNIST; tests that need it are skipped where there is none."""
    named = os.environ.get("BITSIEGE_DATA_DIR")  # noqa: TID251  tests stand at the command line's place
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no data sets at {folder}; set BITSIEGE_DATA_DIR")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Tests run in parallel processes; one thread each keeps them from fighting over the cores."""
    import torch

    torch.set_num_threads(1)
