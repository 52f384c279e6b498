import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
import typer

from bitsiege.cli.guard import guarded
from export.errors import CheckFailedError, DivergenceError, InputError, LoweringError, ToolError


def raising(error: BaseException) -> Callable[[], int]:
    def call() -> NoReturn:
        raise error

    return call


def guard(
    error: BaseException, capsys: pytest.CaptureFixture[str], *, debug: bool = False
) -> tuple[int, str]:
    status = guarded(raising(error), wants_traceback=lambda: debug)
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("bad", hint="do this"), 2),
        (LoweringError("bad", hint="do this"), 2),
        (CheckFailedError("bad", hint="do this"), 1),
        (DivergenceError("bad", hint="do this"), 1),
        (ToolError("bad", hint="do this"), 3),
    ],
)
def test_our_errors_are_two_lines(error: Exception, status: int, capsys: pytest.CaptureFixture[str]):
    assert guard(error, capsys) == (status, "bitsiege: error: bad\n  hint: do this\n")


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), 130, "bitsiege: error: interrupted\n"),
        (typer.Abort(), 130, "bitsiege: error: interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (SystemExit(3), 3, ""),
        (SystemExit("words"), 1, ""),
        (SystemExit(None), 0, ""),
        (
            typer.BadParameter("Nope."),
            2,
            "bitsiege: error: invalid value: Nope\n  hint: see bitsiege --help\n",
        ),
    ],
)
def test_other_ends(error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]):
    assert guard(error, capsys) == (status, text)


def test_memory(capsys: pytest.CaptureFixture[str]):
    status, text = guard(MemoryError(), capsys)
    assert status == 2
    assert text.startswith("bitsiege: error: out of memory\n  hint:")


def test_pytorch_s_way_to_run_out_of_memory(capsys: pytest.CaptureFixture[str]):
    status, text = guard(RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: x"), capsys)
    assert status == 2
    assert "out of memory" in text


def test_a_missing_package_is_a_missing_tool_and_a_missing_module_of_ours_a_bug(
    capsys: pytest.CaptureFixture[str],
):
    status, text = guard(ModuleNotFoundError("No module named 'onnx'", name="onnx"), capsys)
    assert status == 3
    assert "bitsiege doctor" in text
    assert guard(ModuleNotFoundError("No module named 'hw.x'", name="hw.x"), capsys)[0] == 70


def test_a_full_disk_and_a_forbidden_file(capsys: pytest.CaptureFixture[str]):
    status, text = guard(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"), capsys)
    assert status == 2
    assert text.startswith("bitsiege: error: /x/y: No space left on device\n  hint: free some space")
    status, text = guard(PermissionError(errno.EACCES, "Permission denied", "/x/y"), capsys)
    assert (status, text) == (2, "bitsiege: error: /x/y: Permission denied\n")


def test_a_bug_is_one_line_and_the_way_to_its_traceback(capsys: pytest.CaptureFixture[str]):
    status, text = guard(RuntimeError("odd\nthing"), capsys)
    assert status == 70
    assert text.startswith(
        "bitsiege: error: a bug in bitsiege: RuntimeError: odd thing\n  hint: bitsiege --debug"
    )
    assert "Traceback" not in text


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]):
    status, text = guard(RuntimeError("odd"), capsys, debug=True)
    assert status == 70
    assert "Traceback" in text
    assert "in call" in text


def test_a_message_cannot_reach_the_terminal_as_control_codes(capsys: pytest.CaptureFixture[str]):
    _, text = guard(InputError("a\x1b[31mb\rc" + "d" * 5000), capsys)
    assert "\x1b" not in text
    assert "\r" not in text
    assert len(text) < 700


def test_success_is_passed_on():
    assert guarded(lambda: 0, wants_traceback=lambda: False) == 0
    assert guarded(lambda: 3, wants_traceback=lambda: False) == 3


def test_a_full_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = Full()
    monkeypatch.setattr(sys, "stdout", full)
    assert guarded(lambda: 0, wants_traceback=lambda: False) == 2
    assert "can't write the output: No space left on device" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m bitsiege doctor --json | true"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    assert ran.returncode in (0, 141)


def test_standard_output_on_a_full_disk():
    ran = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bitsiege doctor > /dev/full"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("bitsiege: error: can't write the output: No space left on device")
    assert "Exception ignored" not in ran.stderr
