import functools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attacks.processes import Processes
from export.errors import InputError, ToolError

PATIENCE_S = 120


def run(jobs: int, function: Callable[[Any], Any], tasks: list, **options: Any) -> dict:
    processes = Processes(jobs, function, **options)
    try:
        for number, task in enumerate(tasks):
            processes.submit(number, task)
        answers = {}
        while found := processes.collect(PATIENCE_S):
            answers |= dict(found)
        return answers
    finally:
        processes.close()


def test_every_task_is_answered():
    assert run(2, math.factorial, list(range(20))) == {n: math.factorial(n) for n in range(20)}


def test_nothing_to_do():
    assert run(1, math.factorial, []) == {}


def test_collecting_waits_no_longer_than_asked():
    processes = Processes(1, time.sleep)
    try:
        processes.submit("long", 2 * PATIENCE_S)
        begin = time.monotonic()
        while not processes.collect(0.05) and time.monotonic() < begin + 0.2:
            pass
        assert time.monotonic() < begin + PATIENCE_S
    finally:
        processes.close()


def test_what_a_task_raises_is_raised_here():
    with pytest.raises(ValueError, match="factorial"):
        run(1, math.factorial, [-1])


def refuse() -> None:
    raise InputError("nothing here", hint="bring something")


def test_what_preparing_raises_is_raised_here():
    with pytest.raises(InputError, match="nothing here") as caught:
        run(1, math.factorial, [1], prepare=refuse)
    assert caught.value.hint == "bring something"


def die_once(marker: Path, task: int) -> int:
    """Kill this process the first time that the task is done."""
    try:
        marker.with_name(f"{task}").touch(exist_ok=False)
    except FileExistsError:
        return task
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def test_the_task_of_a_dead_process_is_done_again(tmp_path: Path):
    assert run(2, functools.partial(die_once, tmp_path / "x"), [5, 6]) == {0: 5, 1: 6}


def test_processes_that_die_again_and_again_are_given_up():
    with pytest.raises(ToolError, match="died 4 times"):
        run(1, os._exit, [1])


# A main module that hasn't begun yet when its first process is killed: what a pool of the standard library
# may wait for until it is killed itself.
KILLING = """
    import math, os, signal, sys, time
    from pathlib import Path
    from attacks.processes import Processes

    def children():
        pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        return [int(p) for p in pids if "spawn_main" in Path(f"/proc/{p}/cmdline").read_text()]

    if __name__ == "__main__":
        processes = Processes(2, math.factorial)
        time.sleep(float(sys.argv[1]))
        os.kill(children()[0], signal.SIGKILL)
        for number in range(6):
            processes.submit(number, number)
        answers = {}
        while found := processes.collect():
            answers |= dict(found)
        processes.close()
        print(sorted(answers.items()) == [(n, math.factorial(n)) for n in range(6)], len(children()))
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.03, 0.3])
def test_a_process_killed_while_it_starts_is_replaced(delay_s: float, tmp_path: Path):
    program = tmp_path / "killing.py"
    program.write_text(textwrap.dedent(KILLING))
    ran = subprocess.run(
        [sys.executable, str(program), str(delay_s)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert ran.stdout.split() == ["True", "0"], ran.stderr


def test_processes_end_with_their_parent(tmp_path: Path):
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time\nfrom attacks.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    p = Processes(1, time.sleep)\n    p.submit(0, 600)\n    p.collect(1.5)\n"
        "    print(p._workers[0].process.pid, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    ran = subprocess.run(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    child = Path(f"/proc/{ran.stdout.strip()}/stat")
    deadline_s = time.monotonic() + PATIENCE_S
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
