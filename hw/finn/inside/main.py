"""What runs in FINN's environment: ``python main.py flow JOB.json`` or ``python main.py serve JOB.json``.

A flow writes ``result.json`` into its output directory. A server reads lines such as
``{"images": "x.npy", "answer": "y.npz"}`` from its input, and says ``{"done": "y.npz"}`` for each, or
``{"error": "..."}``. FINN prints a lot; only these lines reach the standard output.
"""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent))

from start import start


def main() -> int:
    """Do what the arguments say."""
    mode, path = sys.argv[1:]
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    # Everything else that is printed goes to the error stream.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    start(Path(job["work"]))
    try:
        run_flow(job) if mode == "flow" else serve(job, answers)
    except Exception as error:  # noqa: BLE001  whatever FINN raises is told to the process that asked
        traceback.print_exc()
        _say(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def run_flow(job: dict[str, Any]) -> None:
    """Take a network through FINN's steps."""
    from flow import Flow

    output = Path(job["output"])
    for name in ("models", "logits", "generated"):
        (output / name).mkdir(parents=True, exist_ok=True)
    result = Flow(job).run()
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def serve(job: dict[str, Any], answers: TextIO) -> None:
    """Execute the graph that a flow left, for as long as there are questions."""
    import numpy as np
    from graphs import Stage, logits_of
    from qonnx.core.modelwrapper import ModelWrapper

    folder = Path(job["graphs"])
    stage = Stage(ModelWrapper(str(folder / "despecialised.onnx")), ModelWrapper(str(folder / "parent.onnx")))
    _say(answers, {"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        images = np.load(question["images"], allow_pickle=False)
        logits, labels = logits_of(stage, images)
        np.savez(question["answer"], logits=logits, labels=labels)
        _say(answers, {"done": question["answer"]})


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
