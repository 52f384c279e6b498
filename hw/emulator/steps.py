"""The native engine's program: steps between buffers, as native/steps.hpp declares them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.emulator import memory

# The fields of Step, and the names of StepKind, in order.
STEP_FIELDS = (
    "kind",
    "source",
    "other",
    "target",
    "rows",
    "columns",
    "planes",
    "is_signed",
    "is_bipolar",
    "is_narrow",
    "joined",
    "groups",
    "neurons",
    "levels",
    "first_value",
    "value_step",
    "out_planes",
    "weights",
    "limits",
    "mask",
    "offset",
    "factor",
    "height",
    "width",
    "out_height",
    "out_width",
    "kernel_height",
    "kernel_width",
    "stride_height",
    "stride_width",
    "top",
    "left",
    "pixel_bytes",
    "fill",
    "row_bytes",
    "pixels",
    "image_words",
    "starts",
    "segments",
    "segment_count",
    "segment_words",
    "shifts",
    "is_drawn",
    "layer",
    "row_blocks",
    "first_block",
    "draw_limits",
    "ones_classes",
    "ones_factor",
    "ones_sets",
)
STEP_KINDS = (
    "pack_threshold",
    "pack_bytes",
    "pack_integers",
    "unpack",
    "widen_bytes",
    "threshold",
    "join_rows",
    "gemm_bits",
    "gemm_integers",
    "pad",
    "windows",
    "pool_integers",
    "pool_bits",
    "pool_bytes",
    "narrow",
    "unpack_bytes",
    "gemm_bytes",
    "split_rows",
    "pack_levels",
    "pool_sum",
    "add",
)
IMAGES_BUFFER = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A program of the native engine.

    Attributes:
        steps: int64 ``(steps, fields)``, fields in the order of `STEP_FIELDS`.
        image_bytes: Bytes that one image takes in each buffer, int64 ``(buffers,)``; buffer 0 are the images,
            the following `outputs` ones belong to the caller.
        outputs: Number of int64 arrays that the caller gets.
        output_index: Which of them holds each wanted stream, by name.
        constants: Weights and thresholds; steps hold offsets into them.
        block_images: Images computed at a time.
        arena_offsets: Where the other buffers of a block begin in a thread's memory [bytes], int64.
        arena_bytes: Size of that memory.
        scratch_bytes: Memory for drawn weights, beside the buffers.
        packed_weights: Where the constants hold the ±1 weights of a layer on rows of ±1 inputs, by its name:
            each is one bit there, and nothing else depends on it.
    """

    steps: npt.NDArray[np.int64]
    image_bytes: npt.NDArray[np.int64]
    outputs: int
    output_index: dict[str, int]
    constants: bytes
    block_images: int
    arena_offsets: npt.NDArray[np.int64]
    arena_bytes: int
    scratch_bytes: int
    packed_weights: dict[str, int]


class PlanWriter:
    """Collects steps, the buffers that they write, and their constants.

    Args:
        image_bytes: Bytes of one image.
    """

    def __init__(self, image_bytes: int) -> None:
        self._steps: list[dict[str, int]] = []
        self._buffers = [image_bytes]
        self._constants = bytearray()
        self._scratch_bytes = 0
        self._packed_weights: dict[str, int] = {}

    def step(self, kind: str, source: int, target_bytes: int, **fields: int) -> int:
        """Append a step.

        Args:
            kind: One of `STEP_KINDS`.
            source: Buffer read.
            target_bytes: Bytes that one image takes in the output.
            fields: Other fields of the step; 0 for those not given.

        Returns:
            The new buffer that the step writes.
        """
        self._buffers.append(target_bytes)
        target = len(self._buffers) - 1
        self._steps.append({"kind": STEP_KINDS.index(kind), "source": source, "target": target} | fields)
        return target

    def constant(self, array: npt.NDArray[np.generic]) -> int:
        """Store an array; returns its offset [bytes]. It is readable up to the next multiple of 64 bytes."""
        offset = len(self._constants)
        self._constants += np.ascontiguousarray(array).tobytes()
        self._constants += bytes(-len(self._constants) % memory.ALIGNMENT)
        return offset

    def note_weights(self, name: str, offset: int) -> None:
        """Remember where a layer's weights lie, each in one bit that nothing else depends on."""
        self._packed_weights[name] = offset

    def need_scratch(self, size: int) -> None:
        """Ask for ``size`` bytes of memory that a step may use while it runs."""
        self._scratch_bytes = max(self._scratch_bytes, size)

    def finish(self, wanted: dict[str, int]) -> Plan:
        """Return the plan whose outputs are the int64 buffers in ``wanted``.

        The engine numbers buffers in the order images, the caller's, its own.
        """
        external = sorted(set(wanted.values()))
        inner = [index for index in range(1, len(self._buffers)) if index not in external]
        order = {old: new for new, old in enumerate([IMAGES_BUFFER, *external, *inner])}
        for step in self._steps:
            for end in ("source", "other", "target"):
                step[end] = order[step.get(end, IMAGES_BUFFER)]
        reads = [(step["target"], (step["source"], step["other"])) for step in self._steps]
        sizes = {order[index]: self._buffers[index] for index in inner}
        block = memory.block_images(memory.lay_out(reads, sizes, 1).size)
        layout = memory.lay_out(reads, sizes, block)
        rows = [[step.get(field, 0) for field in STEP_FIELDS] for step in self._steps]
        return Plan(
            steps=np.array(rows, np.int64),
            image_bytes=np.array([self._buffers[old] for old in order], np.int64),
            outputs=len(external),
            output_index={name: order[buffer] - 1 for name, buffer in wanted.items()},
            constants=bytes(self._constants) or bytes(memory.ALIGNMENT),
            block_images=block,
            arena_offsets=np.array([layout.offsets[buffer] for buffer in sorted(sizes)], np.int64),
            arena_bytes=layout.size,
            scratch_bytes=self._scratch_bytes,
            packed_weights=self._packed_weights,
        )
