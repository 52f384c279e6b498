"""Overlays without hardware, pynq's environment, and programs in it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import hw.pynq
from hw.environments import create_environment
from hw.pynqremote import (
    ENVIRONMENT,
    RemoteStandIn,
    client_command,
    describe_overlay,
    emulated_board,
    folder_firmware,
    private_pynq,
)
from hw.reference import ReferenceTarget

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def pynq_python():
    """Python of pynq's environment; the first run on a machine installs it, which takes a minute."""
    return create_environment(ENVIRONMENT)


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory):
    """The function that writes the folder of an overlay that nobody built, and returns its manifest."""

    def make(graph, **options):
        return describe_overlay(graph, tmp_path_factory.mktemp("emulation") / "overlay", **options)

    return make


@pytest.fixture(scope="session")
def start_board(pynq_python):
    """The function that starts the stand-in for an overlay's folder."""

    def start(manifest, graph, **options):
        board = emulated_board(
            manifest, ReferenceTarget(graph), firmware=folder_firmware(manifest), **options
        )
        return RemoteStandIn(board, pynq_python)

    return start


@pytest.fixture
def run_program(pynq_python, tmp_path):
    """The function that runs a program in pynq's environment and returns what it printed."""
    site = private_pynq(pynq_python, tmp_path / "site")
    shutil.copytree(Path(hw.pynq.__file__).parent, site / "bitsiege_pynq")

    def run(program, *arguments):
        name = str(PROGRAMS / program) if program.endswith(".py") else program
        command = client_command(pynq_python, site, name, *map(str, arguments))
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def save_images(tmp_path):
    """The function that writes random images to a file and returns it with them."""

    def save(graph, count):
        images = np.random.default_rng(count).integers(0, 256, (count, *graph.input_shape), np.uint8)
        np.save(tmp_path / "images.npy", images)
        return tmp_path / "images.npy", images

    return save
