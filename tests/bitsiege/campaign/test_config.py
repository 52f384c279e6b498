import tomllib
from pathlib import Path

import pytest

from bitsiege.campaign.config import load_campaign, parse_campaign
from export.errors import InputError
from quant_models.zoo import shipped

LEAST = {"models": [{"source": "tfc-mnist"}], "attacks": [{"name": "fgsm", "epsilons": [0.1]}]}


def changed(table: str, **values: object) -> dict:
    return LEAST | {table: values}


def test_names_follow_the_sources():
    values = LEAST | {
        "models": [{"source": "tfc-mnist"}, {"source": "a/b.safetensors"}, {"source": "out/build"}]
    }
    config = parse_campaign(values, where="x")
    assert [model.name for model in config.models] == ["tfc-mnist", "b", "build"]
    assert config.replay.targets == ("emulator",)
    assert config.attacks[0].seeds == (0,)


def test_boards_need_a_resource():
    replay = parse_campaign(
        changed("replay", targets=["emulator", "rtl"], resources={"rtl": "board-Pynq-Z2"}), where="x"
    ).replay
    assert replay.resource("rtl") == "board-Pynq-Z2"
    assert replay.resource("emulator") is None
    assert replay.resource("pynq") == "board"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (LEAST | {"modells": []}, "modells: unknown key; did you mean models?"),
        (
            LEAST | {"attacks": [{"name": "pgd", "epsilon": 1}]},
            "attacks[0]: pgd has no parameter 'epsilon'; did you mean epsilons? known: label, name, "
            "epsilons, seeds, oracle, norm, goal, ",
        ),
        (LEAST | {"attacks": [{"name": "pgd", "epsilons": [0.1, 0.1]}]}, "an epsilon is there twice"),
        (LEAST | {"attacks": [{"name": "pgd", "epsilons": [0.1], "seeds": [1, 1]}]}, "a seed is there twice"),
        (LEAST | {"attacks": [{"name": "pgd", "parameters": {"eps": 1}}]}, "give epsilons instead of eps"),
        (
            LEAST | {"attacks": [{"name": "pgd", "epsilons": [0.1], "oracle": "emulater"}]},
            "did you mean emulator?",
        ),
        (LEAST | {"attacks": [{"name": "cw"}, {"name": "cw"}]}, "give them a label each"),
        (LEAST | {"models": [{"source": "x"}, {"source": "y", "name": "x"}]}, "give them a name each"),
        (changed("replay", targets=["emulator", "emulator"]), "a target is there twice"),
        (changed("replay", targets=["warp"]), "there is no target 'warp'"),
        (changed("replay", limits={"rtl": 3}), "limits names 'rtl'"),
        (changed("replay", limits={"emulator": 3}), "comes first"),
        (changed("replay", resources={"emulator": "board"}), "every worker can compute"),
        (LEAST | {"shard_images": 0}, "shard_images"),
    ],
)
def test_wrong_keys_and_values_are_named(values: dict, message: str):
    with pytest.raises(InputError) as caught:
        parse_campaign(values, where="c.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("c.toml: ")


def test_the_shipped_campaigns_load():
    files = sorted((Path(__file__).resolve().parents[3] / "configs" / "campaigns").glob("*.toml"))
    assert files
    for file in files:
        config = load_campaign(file)
        names = {model.name for model in config.models} | set(shipped())
        assert all(member in names for source in config.sources for member in source.members)


def test_the_page_s_example_is_a_campaign(tmp_path: Path):
    page = (Path(__file__).resolve().parents[3] / "docs" / "campaigns.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    (tmp_path / "c.toml").write_text(text)
    config = load_campaign(tmp_path / "c.toml")
    assert config == parse_campaign(tomllib.loads(text), where="x")
    assert len(config.models) > 1
    assert config.replay.limits
