"""Lower other people's QONNX and compare it with the qonnx package on MNIST's test images.

``python -m benchmarks.model_zoo TFC_1W1A.onnx --data-dir DIR`` prints one JSON object: how many predictions
and logits differ between the file executed by the qonnx package and the lowered integer network, and each
one's accuracy. Exit status 1 if any prediction differs.

The files come from the public repository fastmachinelearning/QONNX_model_zoo.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import BitsiegeError
from export.graphfile import graph_hash
from export.lowering import lower_with_notes
from hw.qonnx_executor import open_executor
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget
from quant_models.data import load_dataset


def compare(model: Path, data_dir: Path | None, count: int) -> dict[str, Any]:
    """Compare predictions on the first ``count`` test images."""
    lowered = lower_with_notes(model)
    test = load_dataset("mnist", data_dir=data_dir).test
    images, labels = test.images[:count], test.labels[:count]
    expected, seconds = _qonnx_predictions(model, images)
    reference = ReferenceTarget(lowered.graph).infer(images)
    target = QonnxTarget(model, lowered.graph).infer(images)
    return {
        "model": model.name,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "graph_hash": graph_hash(lowered.graph),
        "notes": list(lowered.notes),
        "images": len(images),
        "prediction_differences": int((expected != reference.labels).sum()),
        "logit_differences": int((target.logits != reference.logits).sum()),
        "accuracy_qonnx": float((expected == labels).mean()),
        "accuracy_reference": float((reference.labels == labels).mean()),
        "qonnx_images_per_s": len(images) / seconds,
    }


def _qonnx_predictions(model: Path, images: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Any, float]:
    """Return the argmax of the file's own output, one image at a time as the file is declared."""
    executor = open_executor(model)
    output = executor.model.graph.output[0].name
    floats = (images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
    start = time.perf_counter()
    predictions = [
        int(np.argmax(executor.run(image.reshape(1, *executor.frame))[output])) for image in floats
    ]
    return np.asarray(predictions), time.perf_counter() - start


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ (downloaded where it is not given)")
    parser.add_argument("--images", type=int, default=10_000, help="how many test images (default: all)")
    arguments = parser.parse_args()
    try:
        result = compare(arguments.model, arguments.data_dir, arguments.images)
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps(result, indent=2))
    return 1 if result["prediction_differences"] or result["logit_differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
