import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bitsiege.pipeline.engine import Step, StepContext, StepResult, run_steps
from bitsiege.pipeline.store import MARKER, RunDirectory
from bitsiege.progress import SilentProgress
from export.errors import InputError


class Recipe:
    """Three steps that add numbers, and a list of those that ran."""

    def __init__(self, number: int = 1, factor: int = 10) -> None:
        self.ran: list[str] = []
        self.fails = False
        self.number, self.factor = number, factor

    def _first(self, step: StepContext) -> None:
        self.ran.append("first")
        # The sign gets lost: two settings with one result.
        (step.folder / "value").write_text(str(abs(self.number)))

    def _second(self, step: StepContext) -> None:
        self.ran.append("second")
        value = int((step.inputs["first"] / "value").read_text())
        (step.folder / "deep").mkdir()
        (step.folder / "deep" / "value").write_text(str(value * self.factor))

    def _third(self, step: StepContext) -> None:
        self.ran.append("group/third")
        if self.fails:
            (step.folder / "half").write_text("half")
            raise InputError("no")
        (step.folder / "value").write_text((step.inputs["second"] / "deep" / "value").read_text() + "!")

    def steps(self) -> list[Step]:
        return [
            Step(name="first", settings={"number": self.number}, action=self._first),
            Step(name="second", settings={"factor": self.factor}, action=self._second, after=("first",)),
            Step(name="group/third", settings={}, action=self._third, after=("second",)),
        ]

    def run(self, path: Path, *, force: bool = False) -> list[StepResult]:
        self.ran.clear()
        directory = RunDirectory(path)
        with directory.locked():
            return run_steps(self.steps(), directory, progress=SilentProgress(), force=force)


def result(path: Path) -> str:
    return (path / "group" / "third" / "value").read_text()


def test_steps_run_once(tmp_path: Path):
    recipe = Recipe()
    first = recipe.run(tmp_path)
    assert [r.reused for r in first] == [False] * 3
    assert result(tmp_path) == "10!"
    again = recipe.run(tmp_path)
    assert recipe.ran == []
    assert [r.reused for r in again] == [True] * 3
    assert [r.key for r in again] == [r.key for r in first]
    assert [r.seconds for r in again] == [r.seconds for r in first]


def test_a_changed_setting_redoes_what_depends_on_it(tmp_path: Path):
    Recipe().run(tmp_path)
    changed = Recipe(factor=7)
    changed.run(tmp_path)
    assert changed.ran == ["second", "group/third"]
    assert result(tmp_path) == "7!"


def test_equal_files_stop_the_redoing(tmp_path: Path):
    Recipe(number=1).run(tmp_path)
    changed = Recipe(number=-1)
    changed.run(tmp_path)
    assert changed.ran == ["first"]


def test_force_redoes_everything(tmp_path: Path):
    recipe = Recipe()
    recipe.run(tmp_path)
    recipe.run(tmp_path, force=True)
    assert recipe.ran == ["first", "second", "group/third"]


@pytest.mark.parametrize("damage", ["change", "remove", "add", "manifest", "no manifest", "old manifest"])
def test_damage_is_noticed(tmp_path: Path, damage: str):
    recipe = Recipe()
    recipe.run(tmp_path)
    output, manifest = tmp_path / "second" / "deep" / "value", tmp_path / "manifests" / "second.json"
    match damage:
        case "change":
            output.write_text("9")
        case "remove":
            output.unlink()
        case "add":
            (tmp_path / "second" / "more").write_text("")
        case "manifest":
            manifest.write_text("{")
        case "no manifest":
            manifest.unlink()
        case _:
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 0}))
    recipe.run(tmp_path)
    assert recipe.ran == ["second"]
    assert result(tmp_path) == "10!"


def test_a_failed_step_leaves_nothing_and_keeps_what_was_done(tmp_path: Path):
    recipe = Recipe()
    recipe.fails = True
    with pytest.raises(InputError, match="no"):
        recipe.run(tmp_path)
    assert not (tmp_path / "group" / "third").exists()
    assert list((tmp_path / "group").iterdir()) == []
    recipe.fails = False
    recipe.run(tmp_path)
    assert recipe.ran == ["group/third"]


def test_a_failed_redo_keeps_the_old_result(tmp_path: Path):
    Recipe().run(tmp_path)
    recipe = Recipe(factor=3)
    recipe.fails = True
    with pytest.raises(InputError):
        recipe.run(tmp_path)
    assert result(tmp_path) == "10!"
    # The old files belong to other inputs now, so they are not taken for the new result.
    recipe.fails = False
    recipe.run(tmp_path)
    assert recipe.ran == ["group/third"]
    assert result(tmp_path) == "3!"


def test_source_code_and_versions_are_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    step = Step(
        name="s",
        settings={},
        packages=("export",),
        distributions=("numpy",),
        action=lambda context: calls.append(context.label),
    )
    for _ in range(2):
        run_steps([step], RunDirectory(tmp_path), progress=SilentProgress())
    assert len(calls) == 1
    monkeypatch.setattr("bitsiege.pipeline.engine.code_digest", lambda package: f"other {package}")
    run_steps([step], RunDirectory(tmp_path), progress=SilentProgress())
    assert len(calls) == 2
    monkeypatch.setattr("bitsiege.pipeline.engine.distribution_version", lambda name: f"other {name}")
    run_steps([step], RunDirectory(tmp_path), progress=SilentProgress())
    assert len(calls) == 3


def test_scratch_survives_a_failure_but_not_success_or_force(tmp_path: Path):
    seen: list[str] = []

    def work(context: StepContext) -> None:
        state = context.scratch / "state"
        seen.append(state.read_text() if state.exists() else "new")
        if len(seen) in (1, 2, 4):
            context.scratch.mkdir(parents=True, exist_ok=True)
            state.write_text(f"after {len(seen)}")
            raise InputError("stop")

    step, directory = Step(name="s", settings={}, action=work), RunDirectory(tmp_path)
    for _ in range(2):
        with pytest.raises(InputError):
            run_steps([step], directory, progress=SilentProgress())
    run_steps([step], directory, progress=SilentProgress())
    assert seen == ["new", "after 1", "after 2"]
    with pytest.raises(InputError):
        run_steps([step], directory, progress=SilentProgress(), force=True)
    run_steps([step], directory, progress=SilentProgress(), force=True)
    assert seen[3:] == ["new", "new"]


def test_a_foreign_directory_is_refused(tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty and not a run directory"):
        RunDirectory(tmp_path).open()
    (tmp_path / MARKER).write_text("{}")
    RunDirectory(tmp_path).open()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="not a directory"):
        RunDirectory(file).open()


def test_one_process_at_a_time(tmp_path: Path):
    with (
        RunDirectory(tmp_path).locked(),
        pytest.raises(InputError, match="another bitsiege process") as caught,
        RunDirectory(tmp_path).locked(),
    ):
        pass
    assert "another --out" in caught.value.hint
    with RunDirectory(tmp_path).locked():
        pass


def test_a_killed_run_goes_on(tmp_path: Path):
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent("""
            import sys, time
            from pathlib import Path
            from bitsiege.pipeline.engine import Step, run_steps
            from bitsiege.pipeline.store import RunDirectory
            from bitsiege.progress import SilentProgress

            def first(step):
                (step.folder / "value").write_text("1")

            def second(step):
                (step.folder / "value").write_text("half")
                if "slow" in sys.argv:
                    print("working", flush=True)
                    time.sleep(60)
                (step.folder / "value").write_text("whole")

            steps = [
                Step(name="first", settings={}, action=first),
                Step(name="second", settings={}, action=second, after=("first",)),
            ]
            directory = RunDirectory(Path(sys.argv[1]))
            directory.path.mkdir(exist_ok=True)
            with directory.locked():
                for result in run_steps(steps, directory, progress=SilentProgress()):
                    print(result.name, result.reused)
        """)
    )
    run = tmp_path / "run"
    command = [sys.executable, str(script), str(run)]
    with subprocess.Popen([*command, "slow"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not (run / "second").exists()
    assert list(run.glob(".second-*"))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == "first True\nsecond False\n"
    assert (run / "second" / "value").read_text() == "whole"
    assert not list(run.glob(".second-*"))
