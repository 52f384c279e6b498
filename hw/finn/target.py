"""FINN's despecialised graph as a target: what its hardware would compute, executed in Python."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from export.errors import ToolError
from export.graph import IntArray
from hw.build import Build
from hw.cache import cached_directory, content_key
from hw.finn.environment import FINN, finn_python
from hw.finn.flow import Choice, run_flow
from hw.finn.process import Conversation
from hw.target import ImageArray, Inference, TargetKind, check_images

_BATCH = 32
_START_TIMEOUT_S = 300.0
_IMAGE_TIMEOUT_S = 60.0
_INSIDE = Path(__file__).parent / "inside"


class FinnTarget:
    """Executes the graph that FINN makes of a build, in FINN's environment.

    FINN takes the network through its steps once a machine, which is kept; a process then executes the graph,
    15 to 70 images a second.

    Args:
        build: The compiled network; it needs its QONNX file.
        cache_dir: Where FINN's graphs are kept, and its environment is; None for the user's cache directory.
        image_timeout_s: Longest time for one image [s].

    Raises:
        InputError: FINN can't take the network.
        ToolError: FINN isn't set up, or failed.
    """

    name = "finn"
    kind = TargetKind.SIMULATION

    def __init__(
        self, build: Build, *, cache_dir: Path | None = None, image_timeout_s: float = _IMAGE_TIMEOUT_S
    ) -> None:
        self.graph = build.graph
        self._image_timeout_s = image_timeout_s
        self._python = finn_python(cache_dir)
        self._graphs = graphs_of(self._python, build, cache_dir)
        self._folder = tempfile.TemporaryDirectory(prefix="bitsiege-finn-")
        self._worker: Conversation | None = None

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``.

        Raises:
            ToolError: FINN failed or missed its deadline, or what it computes are no integers.
        """
        pixels = check_images(images, self.graph)
        parts = [np.zeros((0, self.graph.classes), np.int64)]
        parts.extend(self._ask(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH))
        return Inference(logits=np.concatenate(parts))

    def close(self) -> None:
        """End FINN's process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._folder.cleanup()

    def _ask(self, images: ImageArray) -> IntArray:
        folder = Path(self._folder.name)
        np.save(folder / "images.npy", images)
        if self._worker is None:
            self._worker = start_worker(self._python, self._graphs, folder)
        question = {"images": str(folder / "images.npy"), "answer": str(folder / "answer.npz")}
        try:
            self._worker.ask(question, self._image_timeout_s * len(images))
        except ToolError:
            # It has ended; the next question starts another.
            self._worker = None
            raise
        with np.load(folder / "answer.npz", allow_pickle=False) as arrays:
            logits = arrays["logits"]
        if logits.shape != (len(images), self.graph.classes) or not (logits == np.rint(logits)).all():
            raise ToolError(
                "the logits of FINN's graph are no integers",
                hint="it kept a scale in floating point; leave finn out of the targets",
            )
        return logits.astype(np.int64)


def start_worker(python: Path, graphs: Path, folder: Path) -> Conversation:
    """Start a process that executes a graph; it is ready when this returns.

    Raises:
        ToolError: It isn't.
    """
    job = folder / "job.json"
    document = {"graphs": str(graphs.resolve()), "work": str(folder / "work")}
    job.write_text(json.dumps(document), encoding="utf-8")
    worker = Conversation(python, "serve", job, folder / "finn.log")
    worker.answer(_START_TIMEOUT_S)
    return worker


def graphs_of(python: Path, build: Build, cache_dir: Path | None) -> Path:
    """Return a directory with a build's ``parent.onnx`` and ``despecialised.onnx``; make it if need be.

    Raises:
        InputError: FINN can't take the network.
        ToolError: FINN failed.
    """
    sources = [path.read_text(encoding="utf-8") for path in sorted(_INSIDE.glob("*.py"))]
    model = b"" if build.model_path is None else build.model_path.read_bytes()
    layers = [(node.name, build.folding[node.name]) for node in build.graph.mvaus]
    key = content_key(model, repr(layers), f"{build.clock_mhz} {build.board}", *FINN.requirements(), *sources)

    def fill(directory: Path) -> None:
        one = np.zeros((1, *build.graph.input_shape), np.uint8)
        run_flow(python, build, Choice(folding=build.folding), one, directory)

    return cached_directory("finn", key, fill, cache_dir=cache_dir)
