"""Many images through one target, in batches that fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bitsiege.progress import Progress
from export.errors import InputError
from export.files import atomic_file
from hw.target import ImageArray, Inference, Target, TargetKind

# A target without a clock gives the same answers in any batch; small batches keep the progress bar moving.
_BATCH_BYTES = 1 << 25
_STREAM_BYTES = 1 << 28


def infer_file(target: Target, images: ImageArray, progress: Progress) -> Inference:
    """Compute all images.

    Args:
        target: Who computes.
        images: uint8 ``(N, H, W, C)``, possibly still on disk.
        progress: Who listens.

    Returns:
        All logits, and cycles where the target has a clock. Such a target gets as many images in one stream
        as it can, because the cycles of an image depend on its place in the stream.
    """
    budget = _STREAM_BYTES if target.kind is not TargetKind.SIMULATION else _BATCH_BYTES
    size = max(1, budget // max(1, int(np.prod(images.shape[1:]))))
    if target.name in ("qonnx", "torch", "reference"):
        size = min(size, 256)
    parts: list[Inference] = []
    with progress.task(f"infer on {target.name}", total=len(images)) as task:
        for start in range(0, len(images), size) or (0,):
            batch = np.ascontiguousarray(images[start : start + size])
            parts.append(target.infer(batch, start))
            task.update(start + len(batch))
    cycles = [part.cycles for part in parts if part.cycles is not None]
    return Inference(
        logits=np.concatenate([part.logits for part in parts]),
        cycles=np.concatenate(cycles) if cycles else None,
    )


def save_inference(path: Path, result: Inference, *, draw_seed: int | None = None) -> None:
    """Write an .npz file with ``logits``, ``labels`` and, where the target has a clock, ``cycles``.

    Args:
        path: The file.
        result: What to write.
        draw_seed: Of the weights that were drawn, written as ``draw_seed``; None for a network without such.

    Raises:
        InputError: It can't be written.
    """
    arrays = {"logits": result.logits, "labels": result.labels}
    if result.cycles is not None:
        arrays["cycles"] = result.cycles
    if draw_seed is not None:
        arrays["draw_seed"] = np.array(draw_seed, np.int64)
    with atomic_file(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def wave_writer(target: Target, images: ImageArray, index: int) -> Callable[[Path], None]:
    """Return what writes the waveform of one image to a path.

    Raises:
        InputError: The target has no waveforms, or there is no such image.
    """
    writer = getattr(target, "write_wave", None)
    if writer is None:
        raise InputError(f"target {target.name} has no waveforms", hint="use --target rtl")
    if not 0 <= index < len(images):
        raise InputError(f"there is no image {index} among {len(images)}", hint="choose another --wave-image")
    return partial(writer, np.ascontiguousarray(images), index)
