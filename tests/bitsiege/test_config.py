import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

from bitsiege.config import RunConfig, TrainSection, default_config, load_config, parse_config
from bitsiege.pipeline.steps import network_spec, train_config
from export.errors import InputError
from quant_models.data import load_dataset
from quant_models.spec import PRESETS
from quant_models.trainconfig import TrainConfig

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.toml"


def test_the_shipped_file_is_the_default():
    assert load_config(DEMO) == default_config()


def test_an_empty_file_is_the_default(tmp_path: Path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert load_config(path) == default_config()


def test_every_training_setting_can_be_configured():
    assert set(TrainSection.model_fields) == {field.name for field in dataclasses.fields(TrainConfig)}
    config = parse_config({"train": {"epochs": 7, "zoom": 0.25}}, where="x")
    assert (train_config(config).epochs, train_config(config).zoom) == (7, 0.25)


def test_the_network_follows_the_data_set():
    config = parse_config({"name": "n", "model": {"preset": "tfc", "input_mode": "binary"}}, where="x")
    spec = network_spec(config, load_dataset("digits"))
    assert spec.hidden == PRESETS["tfc"].hidden
    assert (spec.input_shape, spec.classes, spec.input_mode, spec.name) == ((8, 8, 1), 10, "binary", "n")


def test_a_configuration_is_frozen():
    with pytest.raises(ValidationError):
        default_config().train.epochs = 3


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        (
            {
                "attacks": [
                    {"name": "fgsm", "epsilons": [0.1]},
                    {"name": "pgd", "epsilons": [0.1], "restart": 2},
                ]
            },
            "run.toml: attacks[1]: pgd has no parameter 'restart'; did you mean restarts?",
            "",
        ),
        (
            {"attacks": [{"name": "pgd", "epsilom": [0.1]}]},
            "attacks[0]: pgd has no parameter 'epsilom'; did you mean epsilons?",
            "",
        ),
        ({"trian": {}}, "run.toml: trian: unknown key; did you mean train?", "known here: name, data"),
        ({"train": {"qqqqqq": 1}}, "run.toml: train.qqqqqq: unknown key", "known here: epochs"),
        ({"train": {"epochs": 0}}, "train.epochs: must be greater than or equal to 1", "it is 0"),
        ({"train": {"epochs": "many"}}, "train.epochs: must be a valid integer", "it is 'many'"),
        (
            {"train": {"patience": 2, "validation_fraction": 0}},
            "train: patience needs a validation_fraction",
            "",
        ),
        (
            {"attacks": [{"name": "pgd", "epsilons": [0.1, 2]}]},
            "attacks[0]: eps must be a number from 0 to 1, not 2.0",
            "",
        ),
        ({"attacks": []}, "attacks: tuple should have at least 1 item", ""),
        (
            {"attacks": [{"name": "fgsm", "epsilons": [0.1], "steps": 3}]},
            "attacks[0]: fgsm has no parameter 'steps'",
            "",
        ),
        ({"attacks": [{"name": "fgsm", "epsilons": [0.1]}] * 2}, "an attack is there twice", ""),
        (
            {"attacks": [{"name": "cv", "epsilons": [0.1]}]},
            "attacks[0]: unknown attack 'cv'; known: ",
            "",
        ),
        ({"model": {"preset": "tfc", "hidden": [3]}}, "model: give either preset or hidden", ""),
        ({"compile": {"fps": float("nan")}}, "compile.fps: must be a finite number", ""),
        ({"compile": {"fps": 1, "folding": "f.json"}}, "compile: give either folding, or fps", ""),
        ({"replay": {"targets": ["torch"], "limits": {"rtl": 3}}}, "replay: limits names 'rtl'", ""),
        ({"replay": {"limits": {"torch": 3}}}, "replay: 'torch' comes first", ""),
        ({"replay": {"targets": ["fpga"]}}, "replay.targets[0]: must be", ""),
        ({"name": "../x"}, "name: string should match", "it is '../x'"),
        ({"data": 3}, "data: ", ""),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(values: dict, message: str, hint: str):
    with pytest.raises(InputError) as caught:
        parse_config(values, where="run.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_status == 2


def test_a_folding_file_is_found_beside_the_configuration(tmp_path: Path):
    path = tmp_path / "c.toml"
    path.write_text('[compile]\nfolding = "f.json"\n')
    assert load_config(path).compile.folding == tmp_path / "f.json"


def test_a_dumped_configuration_reads_back():
    config = default_config()
    assert RunConfig.model_validate(config.model_dump(mode="json", exclude_none=True)) == config


def test_unset_parameters_are_left_to_the_attack():
    fgsm, pgd = default_config().attacks
    assert set(fgsm.parameters) == set()
    assert set(pgd.parameters) == {"steps"}
