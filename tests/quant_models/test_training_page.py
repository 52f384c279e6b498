"""What the page about training shows is accepted as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bitsiege.config import TrainSection, load_config, parse_config
from quant_models.trainconfig import TrainConfig

_ROOT = Path(__file__).resolve().parents[2]
_TEXT = (_ROOT / "docs" / "training.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```toml\n(.*?)^```", _TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", _BLOCKS)
def test_settings_are_accepted(block: str) -> None:
    parse_config(tomllib.loads(block), where="training.md")


def test_commands_name_files_that_are_there() -> None:
    commands = re.findall(r"^\$ bitsiege train (\S+) --out \S+$", _TEXT, re.MULTILINE)
    assert len(commands) >= 3
    for name in commands:
        load_config(_ROOT / name)


def test_table_has_the_adversarial_keys_and_their_defaults() -> None:
    rows: dict[str, str] = dict(re.findall(r"^\| `(adversarial_\w+)` \| (\w+) \|", _TEXT, re.MULTILINE))
    fields = {key: item for key, item in TrainSection.model_fields.items() if key.startswith("adversarial_")}
    assert set(rows) == set(fields)
    for key, text in rows.items():
        number = {"true": "1", "false": "0"}.get(text) or text
        assert float(number) == float(fields[key].default)


def test_section_and_settings_have_the_same_keys() -> None:
    defaults = TrainConfig(epochs=100, batch_size=64)
    for key, item in TrainSection.model_fields.items():
        assert getattr(defaults, key) == item.default, key


@pytest.mark.parametrize("path", sorted((_ROOT / "configs" / "paper").glob("*.toml")), ids=lambda p: p.stem)
def test_paper_s_configurations_are_accepted_and_say_what_was_trained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_config(path).name == path.stem
    assert f"#     bitsiege train configs/paper/{path.name} --out DIR" in text
    is_shipped = (_ROOT / "quant_models" / "zoo" / f"{path.stem}.safetensors").exists()
    assert ("# Not trained" in text) == (not is_shipped)
