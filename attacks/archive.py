"""ATTACK.npz: crafted images with everything that is needed to replay and to craft them again."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from attacks.base import Attack, AttackResult
from attacks.inputs import check_batch, check_classes, require
from attacks.npzfile import read_arrays
from attacks.threat import Budget, Norm, verify_budget
from export.errors import BitsiegeError, InputError
from export.files import atomic_file
from export.graph import IntArray
from hw.target import ImageArray

FORMAT_VERSION = 3
_WITHOUT_INDEX = 2
_OPTIONAL = ("targets", "queries", "float_success")
_ARRAYS = ("originals", "adversarial", "labels", *_OPTIONAL, "metadata")
_MAX_METADATA = 1 << 20
_MAX_BYTES = 4 << 30
_NO_TARGET = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackArchive:
    """Originals and adversarial images of one attack on one compiled network.

    Attributes:
        originals: uint8 ``(N, H, W, C)``.
        adversarial: uint8 ``(N, H, W, C)``, inside the ball of ``eps`` around the originals.
        labels: True classes, int64 ``(N,)``.
        targets: Classes that the attack aimed at, int64 ``(N,)``, or None for an untargeted one.
        classes: Number of classes.
        attack: Name of the attack.
        parameters: All of its parameters, JSON values.
        eps: Budget in the unit of `attacks.threat.Budget`.
        norm: What the budget measures.
        seed: Seed of the attack.
        first_index: Index of the first image in its data set. Image i is frame ``first_index + i`` for
            targets that draw weights.
        graph_hash: SHA-256 of the dataflow graph that was attacked, or of what names the networks that were,
            in hex.
        origin: What the gradients or answers came from, such as the name of a checkpoint; free text.
        queries: Images that a target was asked for, int64 ``(N,)``; None for an attack with gradients.
        float_success: Whether the unrounded image fooled the network that doesn't round, bool ``(N,)``; None
            for an attack on the 8-bit grid.

    Raises:
        InputError: Fields that contradict each other.
    """

    originals: ImageArray
    adversarial: ImageArray
    labels: IntArray
    targets: IntArray | None = None
    classes: int
    attack: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    eps: float
    seed: int
    first_index: int = 0
    graph_hash: str
    origin: str = ""
    norm: Norm = Norm.LINF
    queries: IntArray | None = None
    float_success: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        check_batch(self.originals, self.labels)
        check_batch(self.adversarial, self.labels)
        _check_types(self)
        check_classes("label", self.labels, self.classes)
        if self.targets is not None:
            check_batch(self.originals, self.targets)
            check_classes("target class", self.targets, self.classes)
        try:
            verify_budget(self.originals, self.adversarial, self.budget)
        except BitsiegeError as error:
            raise InputError(
                error.message, hint="the recorded eps is not the one it was made with"
            ) from error

    def __len__(self) -> int:
        return len(self.originals)

    def __getitem__(self, images: slice) -> AttackArchive:
        """Return some of the images, one after the other."""
        arrays = {
            name: value[images]
            for name in ("originals", "adversarial", "labels", *_OPTIONAL)
            if (value := getattr(self, name)) is not None
        }
        return dataclasses.replace(
            self, **arrays, first_index=self.first_index + images.indices(len(self))[0]
        )

    @property
    def budget(self) -> Budget:
        """The ball around each original."""
        return Budget(norm=self.norm, eps=self.eps)


def make_archive(
    attack: Attack,
    result: AttackResult,
    *,
    originals: ImageArray,
    labels: IntArray,
    graph_hash: str,
    origin: str = "",
    first_index: int = 0,
) -> AttackArchive:
    """Return what `Attack.craft` found as an archive."""
    return AttackArchive(
        originals=originals,
        adversarial=result.adversarial,
        labels=labels.astype(np.int64),
        targets=result.targets,
        classes=result.classes,
        attack=attack.name,
        parameters=attack.parameters(),
        eps=float(attack.budget(originals.shape[1:]).eps),
        norm=attack.norm,
        seed=attack.seed,
        first_index=first_index,
        graph_hash=graph_hash,
        origin=origin,
        queries=result.queries,
        float_success=result.float_success,
    )


def save_attack(path: Path, archive: AttackArchive) -> None:
    """Write an archive; the same archive gives the same bytes.

    Raises:
        InputError: The file can't be written.
    """
    metadata = {
        "version": FORMAT_VERSION,
        "attack": archive.attack,
        "parameters": dict(archive.parameters),
        "eps": archive.eps,
        "norm": str(archive.norm),
        "seed": archive.seed,
        "first_index": archive.first_index,
        "classes": archive.classes,
        "graph_hash": archive.graph_hash,
        "origin": archive.origin,
    }
    arrays = {
        "originals": archive.originals,
        "adversarial": archive.adversarial,
        "labels": archive.labels,
        "metadata": np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), dtype=np.uint8),
    }
    arrays |= {name: value for name in _OPTIONAL if (value := getattr(archive, name)) is not None}
    if archive.float_success is not None:
        arrays["float_success"] = archive.float_success.astype(np.uint8)
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **cast("dict[str, Any]", arrays))


def load_attack(path: Path, *, max_bytes: int = _MAX_BYTES) -> AttackArchive:
    """Read an archive; nothing in it is executed, and every field is checked.

    Args:
        path: The file.
        max_bytes: Most bytes of one array.

    Raises:
        InputError: The file is missing, damaged, too large, of another version, or its images leave the ball.
    """
    arrays = read_arrays(path, _ARRAYS, max_bytes=max_bytes)
    try:
        metadata = _parse_metadata(arrays.pop("metadata"))
        if (bits := arrays.get("float_success")) is not None:
            require(
                bits.dtype == np.uint8 and bits.max(initial=0) <= 1, "float_success must be true or false"
            )
            arrays["float_success"] = bits.astype(np.bool_)
        return AttackArchive(
            originals=arrays["originals"],
            adversarial=arrays["adversarial"],
            labels=arrays["labels"],
            **{name: arrays[name] for name in _OPTIONAL if name in arrays},
            **metadata,
        )
    except BitsiegeError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint, path=str(path)) from error
    except KeyError as error:
        raise InputError(
            f"{path} is no attack: the array {error} is missing",
            hint="write one with bitsiege attack",
            path=str(path),
        ) from error


def _parse_metadata(data: np.ndarray[Any, Any]) -> dict[str, Any]:
    require(
        data.dtype == np.uint8 and data.ndim == 1 and data.size <= _MAX_METADATA, "its metadata are not text"
    )
    try:
        metadata = json.loads(data.tobytes().decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its metadata are not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise InputError("its metadata are not a JSON object")
    fields = cast("dict[str, Any]", metadata)
    version = fields.pop("version", None)
    if version == _WITHOUT_INDEX:
        fields.setdefault("first_index", 0)
    elif version != FORMAT_VERSION:
        raise InputError(
            f"attack format {version!r}, this program reads {FORMAT_VERSION}",
            hint="craft the attack again with this program",
        )
    known = {item.name for item in dataclasses.fields(AttackArchive)} - set(_ARRAYS)
    if set(fields) != known:
        raise InputError(f"its metadata differ in {', '.join(sorted(set(fields) ^ known))}")
    if fields["norm"] not in list(Norm):
        raise InputError(f"unknown norm {fields['norm']!r:.80}", hint=f"known: {', '.join(Norm)}")
    fields["norm"] = Norm(fields["norm"])
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _check_types(archive: AttackArchive) -> None:
    """Check what type hints promise: an archive also comes from files."""
    for name in ("originals", "adversarial", "labels", "targets"):
        value = getattr(archive, name)
        expected = np.int64 if name in ("labels", "targets") else np.uint8
        require(value is None or value.dtype == expected, f"{name} must be {np.dtype(expected)}")
    for name, expected in (("queries", np.int64), ("float_success", np.bool_)):
        value = getattr(archive, name)
        good = value is None or (value.dtype == expected and value.shape == (len(archive),))
        require(good, f"{name} must be {np.dtype(expected)} ({len(archive)},)")
    require(isinstance(archive.attack, str) and archive.attack != "", "the attack has no name")
    require(isinstance(archive.origin, str), "the attack's origin must be text")
    require(isinstance(archive.parameters, Mapping), "the attack's parameters must be a mapping")
    for name, least in (("classes", 1), ("seed", 0), ("first_index", 0)):
        value = getattr(archive, name)
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 63
        require(good, f"{name} must be an integer of at least {least}, not {value!r}")
    good = (
        isinstance(archive.graph_hash, str) and re.fullmatch("[0-9a-f]{64}", archive.graph_hash) is not None
    )
    require(good, f"the graph hash must be 64 hex digits, not {archive.graph_hash!r:.80}")
