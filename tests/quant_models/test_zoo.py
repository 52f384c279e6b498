from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bitsiege.config import load_config
from bitsiege.pipeline.steps import network_spec, train_config
from export.errors import InputError
from quant_models.adversarial import adversarial_images
from quant_models.checkpoint import load_checkpoint
from quant_models.convspec import CONV_PRESETS
from quant_models.data import load_dataset
from quant_models.evaluation import as_tensors
from quant_models.paperspec import PaperSpec
from quant_models.spec import PRESETS, MlpSpec
from quant_models.stochastic import one_draw
from quant_models.training import TrainConfig, accuracy
from quant_models.zoo import shipped, shipped_for_hardware, shipped_path

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"

_PROMISED = {
    "tfc-mnist": ("mnist", (64, 64, 64), "binary", 0.95),
    "sfc-mnist": ("mnist", (256, 256, 256), "binary", 0.97),
    "lfc-mnist": ("mnist", (1024, 1024, 1024), "binary", 0.984),
    "sfc-fashion-mnist": ("fashion-mnist", (256, 256, 256), "uint8", 0.87),
}

_CONV_PROMISED = {
    "paper-cnn-64-mnist": 0.98,
    "paper-cnn-64-scaled-mnist": 0.98,
    "paper-cnn-64-stochastic-mnist": 0.98,
    "cnv-cifar10-jpeg": 0.67,
}


# Of the paper's networks, and how many of 500 images PGD leaves right at epsilon 0.1.
_PAPER_PROMISED = {
    "paper-cnn-64-mnist-robust": (0.97, 0.6),
    "paper-cnn-64-stochastic-mnist-robust": (0.96, 0.6),
    # It knows the attack it was trained on by its large steps, and falls to smaller ones.
    "paper-cnn-64-scaled-mnist-robust": (0.97, 0.1),
    "paper-a-mnist-robust": (0.98, 0.9),
    "paper-b-mnist-robust": (0.93, 0.5),
    "paper-c-mnist-robust": (0.97, 0.6),
    "paper-s-mnist-robust": (0.93, 0.6),
    "paper-b-gate-mnist": (0.96, 0.0),
    "paper-a-mnist": (0.985, 0.0),
    "paper-b-mnist": (0.96, 0.0),
    "paper-c-mnist": (0.98, 0.0),
    "paper-s-mnist": (0.96, 0.0),
    "paper-s-frozen-mnist": (0.4, 0.0),
}


def test_names() -> None:
    assert set(shipped()) == {*_PROMISED, *_CONV_PROMISED, *_PAPER_PROMISED}


def test_hardware_has_all_but_the_published_forms() -> None:
    kinds = {name: load_checkpoint(shipped_path(name)).spec for name in shipped()}
    assert set(shipped_for_hardware()) == {
        name for name, spec in kinds.items() if not isinstance(spec, PaperSpec)
    }


@pytest.mark.parametrize("name", _PAPER_PROMISED)
def test_paper_network_its_recipe_and_its_robustness(name: str, data_dir: Path) -> None:
    config = load_config(_CONFIGS / "paper" / f"{name}.toml")
    loaded = load_checkpoint(shipped_path(name))
    dataset = load_dataset(config.data.name, data_dir=data_dir)
    assert config.name == name
    assert loaded.spec == network_spec(config, dataset)
    assert loaded.metadata.command == f"bitsiege train configs/paper/{name}.toml --out DIR"
    assert TrainConfig(**loaded.metadata.config) == train_config(config)
    promised, robust = _PAPER_PROMISED[name]
    assert loaded.metadata.test_accuracy is not None
    assert loaded.metadata.test_accuracy >= promised
    test = dataset.test.take(np.arange(0, len(dataset.test), 20))
    model = loaded.build()
    assert accuracy(model, test) >= loaded.metadata.test_accuracy - 0.03
    images, labels = as_tensors(test)
    torch.manual_seed(0)
    moved = adversarial_images(
        model, images / 255.0, labels, radius=0.1, config=TrainConfig(adversarial_steps=10)
    )
    model.eval()
    with one_draw(model), torch.no_grad():
        found = float((model((moved * 255).round() / 255).argmax(1) == labels).float().mean())
    assert found >= robust


@pytest.mark.parametrize("name", _CONV_PROMISED)
def test_convolutional_network_and_its_recipe(name: str, data_dir: Path) -> None:
    recipe = tomllib.loads((_CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    loaded = load_checkpoint(shipped_path(name))
    assert loaded.spec == replace(CONV_PRESETS[recipe["model"]["preset"]], name=name)
    assert loaded.metadata.command == f"bitsiege train configs/{name}.toml --out DIR"
    assert TrainConfig(**loaded.metadata.config) == TrainConfig(**recipe["train"])
    test = load_dataset(recipe["data"]["name"], data_dir=data_dir).test
    # Drawing a frame's weights takes milliseconds in NumPy.
    step = 33 if "stochastic" in name else 10
    found = accuracy(loaded.build(), test.take(np.arange(0, len(test), step)))
    assert loaded.metadata.test_accuracy is not None
    assert loaded.metadata.test_accuracy >= _CONV_PROMISED[name]
    # Four standard deviations of a share among as many images.
    slack = 4 * np.sqrt(0.25 / (len(test) // step)) if "cifar" in name else 0.02
    assert found >= loaded.metadata.test_accuracy - slack


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="no network 'vgg'") as caught:
        shipped_path("vgg")
    assert "tfc-mnist" in caught.value.hint


@pytest.mark.parametrize("name", _PROMISED)
def test_file_says_how_it_was_made(name: str) -> None:
    dataset, hidden, input_mode, _ = _PROMISED[name]
    loaded = load_checkpoint(shipped_path(name))
    assert isinstance(loaded.spec, MlpSpec)
    assert (loaded.spec.hidden, loaded.spec.input_mode) == (hidden, input_mode)
    assert loaded.metadata.dataset == dataset
    assert loaded.metadata.command == f"bitsiege train configs/{name}.toml --out DIR"
    assert loaded.metadata.seed == loaded.metadata.config["seed"]
    assert set(loaded.metadata.versions) == {"brevitas", "numpy", "torch"}


@pytest.mark.parametrize("name", _PROMISED)
def test_recipe_is_the_one_that_made_the_file(name: str) -> None:
    recipe = tomllib.loads((_CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    loaded = load_checkpoint(shipped_path(name))
    assert TrainConfig(**loaded.metadata.config) == TrainConfig(**recipe["train"])
    assert recipe["name"] == loaded.spec.name == name
    assert recipe["data"]["name"] == loaded.metadata.dataset
    preset = PRESETS[recipe["model"].pop("preset")]
    expected = replace(preset, name=name, **recipe["model"])
    assert loaded.spec == expected


@pytest.mark.parametrize("name", _PROMISED)
def test_accuracy_on_all_test_images(name: str, data_dir: Path) -> None:
    dataset, _, _, promised = _PROMISED[name]
    loaded = load_checkpoint(shipped_path(name))
    images = load_dataset(dataset, data_dir=data_dir).test
    assert len(images) == 10_000
    found = accuracy(loaded.build(), images)
    assert found >= promised
    assert found == loaded.metadata.test_accuracy
