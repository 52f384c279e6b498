"""What targets answered, image by image: recorded while they compute, stored, and played back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from attacks.archive import AttackArchive
from attacks.npzfile import read_arrays
from bitsiege.targets import known_targets
from export.errors import InputError
from export.graph import IntArray
from hw.target import ImageArray, Inference, Target, TargetKind, TracingTarget

ANSWERS = "answers.npz"
_SETS = ("clean", "adversarial")
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """One target's answers to the first N images of an attack.

    Attributes:
        kind: What stands behind the target.
        clean: On the originals.
        adversarial: On the crafted images.
    """

    kind: TargetKind
    clean: Inference
    adversarial: Inference

    def __len__(self) -> int:
        return len(self.clean.logits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What a target answers to images.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        first_frame: Frame of the first one.
        answer: The target's.
    """

    images: ImageArray
    first_frame: int
    answer: Inference


class Recorder:
    """Passes images on to a target, and keeps what it answers.

    Images that it has passed on before, or the first ones of them, it answers from memory: the frames are the
    same, so the target would answer the same.

    Args:
        target: Who computes.
        known: What the target is known to answer.
    """

    def __init__(self, target: Target, *, known: Known | None = None) -> None:
        self._target = target
        self._memory: list[Known] = [] if known is None else [known]
        self._heard: list[Inference] = []

    @property
    def name(self) -> str:
        """The target's name."""
        return self._target.name

    @property
    def kind(self) -> TargetKind:
        """The target's kind."""
        return self._target.kind

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Let the target compute, and keep the answer."""
        found = self._remembered(images, first_frame)
        if found is None:
            found = self._target.infer(images, first_frame)
            self._memory.append(Known(images=images, first_frame=first_frame, answer=found))
        self._heard.append(found)
        return found

    def answers(self) -> Answers:
        """Return what a replay asked first: clean images, then adversarial ones."""
        clean, adversarial = self._heard[:2]
        return Answers(kind=self.kind, clean=clean, adversarial=adversarial)

    def _remembered(self, images: ImageArray, first_frame: int) -> Inference | None:
        for known in self._memory:
            begins = known.first_frame == first_frame and len(images) <= len(known.images)
            if begins and np.array_equal(images, known.images[: len(images)]):
                return _first(known.answer, len(images))
        return None


class TracingRecorder(Recorder):
    """The same around a target that can show its layers."""

    def __init__(self, target: TracingTarget, *, known: Known | None = None) -> None:
        super().__init__(target, known=known)
        self._tracing = target

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Let the target trace."""
        return self._tracing.trace(images, first_frame)


def recorder(target: Target, *, known: Known | None = None) -> Recorder:
    """Return a recorder that can do what the target can."""
    if isinstance(target, TracingTarget):
        return TracingRecorder(target, known=known)
    return Recorder(target, known=known)


class Playback:
    """A target that answers what was recorded, on the images of its attack and on no others."""

    def __init__(self, name: str, answers: Answers, archive: AttackArchive) -> None:
        self._name = name
        self._answers = answers
        self._archive = archive

    @property
    def name(self) -> str:
        """The recorded target's name."""
        return self._name

    @property
    def kind(self) -> TargetKind:
        """The recorded target's kind."""
        return self._answers.kind

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Return the answers to the first images of either set."""
        count = len(images)
        if first_frame != self._archive.first_index or count > len(self._answers):
            raise ValueError(f"only the {len(self._answers)} first frames of {self._name} are recorded")
        if np.array_equal(images, self._archive.originals[:count]):
            return _first(self._answers.clean, count)
        if np.array_equal(images, self._archive.adversarial[:count]):
            return _first(self._answers.adversarial, count)
        raise ValueError(f"{self._name} was never asked for these images")


def join_answers(parts: list[Answers]) -> Answers:
    """Return the answers of consecutive shards as one."""
    return Answers(
        kind=parts[0].kind,
        clean=_join([part.clean for part in parts]),
        adversarial=_join([part.adversarial for part in parts]),
    )


def answers_bytes(answers: Mapping[str, Answers]) -> bytes:
    """Return answers by target as the bytes of an .npz file; equal answers give equal bytes."""
    arrays: dict[str, Any] = {}
    for name, part in answers.items():
        arrays[f"{name}.kind"] = np.frombuffer(part.kind.value.encode(), np.uint8)
        for images in _SETS:
            inference = cast("Inference", getattr(part, images))
            arrays[f"{name}.{images}.logits"] = inference.logits
            if inference.cycles is not None:
                arrays[f"{name}.{images}.cycles"] = inference.cycles
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_answers(path: Path) -> dict[str, Answers]:
    """Read the answers of targets, in the order in which they were written.

    Raises:
        InputError: The file is missing or damaged.
    """
    keys = [f"{name}.{part}" for name in known_targets() for part in ("kind", *_array_keys())]
    arrays = read_arrays(path, keys, max_bytes=_MAX_BYTES)
    try:
        names = [key.removesuffix(".kind") for key in arrays if key.endswith(".kind")]
        return {name: _read_one(arrays, name) for name in names}
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint="compute it again") from error


def _array_keys() -> list[str]:
    return [f"{images}.{part}" for images in _SETS for part in ("logits", "cycles")]


def _read_one(arrays: Mapping[str, Any], name: str) -> Answers:
    inferences = {
        images: Inference(
            logits=arrays[f"{name}.{images}.logits"], cycles=arrays.get(f"{name}.{images}.cycles")
        )
        for images in _SETS
    }
    kind = TargetKind(arrays[f"{name}.kind"].tobytes().decode())
    return Answers(kind=kind, clean=inferences["clean"], adversarial=inferences["adversarial"])


def _first(inference: Inference, count: int) -> Inference:
    cycles = inference.cycles
    return Inference(logits=inference.logits[:count], cycles=None if cycles is None else cycles[:count])


def _join(parts: list[Inference]) -> Inference:
    cycles = [part.cycles for part in parts if part.cycles is not None]
    return Inference(
        logits=np.concatenate([part.logits for part in parts]),
        cycles=np.concatenate(cycles) if len(cycles) == len(parts) else None,
    )
