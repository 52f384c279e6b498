"""The workflow of docs/ci.md is YAML, and the command line knows every command and option in it."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from bitsiege.campaign.config import load_campaign
from bitsiege.cli.app import app
from bitsiege.statistics import holm, mcnemar

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text()
COMMANDS = typer.main.get_command(app).commands


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def steps() -> list[dict]:
    return yaml.safe_load(block("yaml"))["jobs"]["campaign"]["steps"]


def bitsiege_lines() -> list[str]:
    scripts = [step["run"] for step in steps() if "run" in step] + [block("sh")]
    lines = [line.strip() for script in scripts for line in script.splitlines()]
    return [line for line in lines if line.startswith("bitsiege ")]


def check(line: str) -> None:
    """Let the command's own parser read the line; nothing runs."""
    _, name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, list(words))


@pytest.mark.parametrize("line", bitsiege_lines())
def test_the_command_line_understands_every_line(line: str):
    check(line)


def test_a_wrong_line_would_be_noticed():
    with pytest.raises(KeyError):
        check("bitsiege compete a b")
    for wrong in (
        "bitsiege compare a b --max-accuracy-dorp 0.1",
        "bitsiege compare a",
        "bitsiege report a b",
    ):
        with pytest.raises(Exception, match=r"(?i)no such option|missing parameter|unexpected"):
            check(wrong)


def test_the_workflow_runs_what_the_page_says(tmp_path: Path):
    # YAML 1.1 reads the key "on" as true.
    workflow = yaml.safe_load(block("yaml"))
    assert set(workflow[True]) == {"push", "pull_request"}
    assert [shlex.split(line)[1] for line in bitsiege_lines()] == ["campaign", "report", "compare", "compare"]
    ours = next(step["run"] for step in steps() if "compare" in step.get("run", ""))
    fetch = next(step["run"] for step in steps() if "gh run download" in step.get("run", ""))
    assert shlex.split(ours)[2] == fetch.split()[-1] == "main-branch"
    (upload,) = [step["with"] for step in steps() if "upload-artifact" in step.get("uses", "")]
    assert f"--name {upload['name']} " in fetch
    assert upload["path"].split() == [
        f"runs/ci/{name}" for name in ("campaign.json", "results", "report.html")
    ]
    campaign = next(shlex.split(step["run"]) for step in steps() if "campaign " in step.get("run", ""))
    assert campaign[2] in PAGE
    (tmp_path / "ci.toml").write_text(block("toml"))
    assert load_campaign(tmp_path / "ci.toml").name == "ci"


def test_the_page_s_example_of_a_blind_test():
    assert holm([mcnemar(7, 0), 1.0])[0] < 0.05 < holm([mcnemar(6, 0), 1.0])[0]
