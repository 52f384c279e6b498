"""Trains a sparse network for verification and writes its graph, or makes a build of a graph.

    python -m benchmarks.verifiable configs/verifiable/mnist-01.toml -o GRAPH.safetensors [--data-dir DIR]
    python -m benchmarks.verifiable GRAPH.safetensors -o BUILD

The graphs of both configurations are in benchmarks/networks.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from bitsiege.sparse import sparse_graph
from export.errors import BitsiegeError, InputError
from export.graph import DataflowGraph
from export.graphfile import load_graph, save_graph
from hw.build import Build, write_build
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from quant_models.data import ImageSet, load_dataset
from quant_models.verifiable import SparseConfig, SparseNetwork, train_sparse

NETWORKS = Path(__file__).resolve().parent / "networks"


def read_config(path: Path) -> tuple[str, SparseConfig]:
    """Return data set and training of a configuration file.

    Raises:
        InputError: It can't be read, or has other fields.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        dataset = values.pop("dataset")
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return dataset, SparseConfig(**fields)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no configuration of a sparse network: {error}") from error


def build_of(graph: DataflowGraph, path: Path) -> Build:
    """Write a build with one multiplier a layer: verification asks for no more."""
    folding = Folding({node.name: LayerFolding(1, 1) for node in graph.mvaus})
    return write_build(path, graph=graph, folding=folding, clock_mhz=100.0)


def accuracy(graph: DataflowGraph, images: ImageSet) -> float:
    """Return the part of images that the golden model classifies correctly."""
    return float(np.mean(ReferenceTarget(graph).infer(images.images).labels == images.labels))


def train(config: Path, output: Path, data_dir: Path | None) -> None:
    """Train a network and write its graph."""
    import torch

    torch.set_num_threads(1)
    name, settings = read_config(config)
    dataset = load_dataset(name, data_dir=data_dir)
    begin = time.monotonic()

    def show(epoch: int, loss: float, network: SparseNetwork) -> None:
        part = accuracy(sparse_graph(network, dataset.input_shape), dataset.test)
        print(
            f"epoch {epoch}: loss {loss:.3f}, test {100 * part:.2f} %, {time.monotonic() - begin:.0f} s",
            file=sys.stderr,
        )

    network = train_sparse(dataset.train, settings, classes=len(dataset.classes), progress=show)
    save_graph(sparse_graph(network, dataset.input_shape), output)


def main() -> int:
    """Train or build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.source.suffix == ".toml":
            train(arguments.source, arguments.output, arguments.data_dir)
        else:
            print(build_of(load_graph(arguments.source), arguments.output).graph_hash)
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
