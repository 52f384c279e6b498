"""How fast the accelerator and each step of the driver are, in the words of FINN's driver."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .accelerator import Accelerator

_Result = TypeVar("_Result")


def measure_throughput(accelerator: Accelerator) -> dict[str, float]:
    """Time one batch of random images.

    The hardware's own part is ``runtime[ms]``, start and wait included; copying and packing are apart, as in
    FINN's driver.

    Returns:
        ``runtime[ms]``, ``throughput[images/s]``, ``DRAM_in_bandwidth[MB/s]``, ``DRAM_out_bandwidth[MB/s]``,
        ``fclk[mhz]``, ``batch_size``, and ``fold_input[ms]``, ``pack_input[ms]``,
        ``copy_input_data_to_device[ms]``, ``copy_output_data_from_device[ms]``, ``unpack_output[ms]``,
        ``unfold_output[ms]``.
    """
    result: dict[str, float] = {}

    def timed(name: str, step: Callable[[], _Result]) -> _Result:
        start = accelerator.bus.now()
        value = step()
        result[f"{name}[ms]"] = (accelerator.bus.now() - start) * 1000
        return value

    images = np.random.default_rng(0).integers(0, 256, accelerator.ishape_normal(), np.uint8)
    packed_output = np.zeros(accelerator.oshape_packed(), np.uint8)
    folded = timed("fold_input", lambda: accelerator.fold_input(images))
    packed = timed("pack_input", lambda: accelerator.pack_input(folded))
    timed("copy_input_data_to_device", lambda: accelerator.copy_input_data_to_device(packed))
    timed("runtime", accelerator.execute_on_buffers)
    timed("copy_output_data_from_device", lambda: accelerator.copy_output_data_from_device(packed_output))
    unpacked = timed("unpack_output", lambda: accelerator.unpack_output(packed_output))
    timed("unfold_output", lambda: accelerator.unfold_output(unpacked))
    # A clock too coarse for so short a run gives no rate.
    runtime_s = result["runtime[ms]"] / 1000
    rate = 1 / runtime_s if runtime_s > 0 else math.inf
    moved = {"in": accelerator.ishape_packed(), "out": accelerator.oshape_packed()}
    return {
        "runtime[ms]": result.pop("runtime[ms]"),
        "throughput[images/s]": accelerator.batch_size * rate,
        **{f"DRAM_{way}_bandwidth[MB/s]": math.prod(shape) * 1e-6 * rate for way, shape in moved.items()},
        "fclk[mhz]": accelerator.fclk_mhz,
        "batch_size": accelerator.batch_size,
        **result,
    }
