"""``settings.json`` in the form that FINN's own driver (finn-plus-driver) reads."""

from __future__ import annotations

from typing import Any

from hw.vivado.plan import RESULT_BITS, OverlayPlan


def finn_settings(plan: OverlayPlan) -> dict[str, Any]:
    """Return the settings of FINN's driver for an overlay.

    Its logits are 32 bits wide because that driver cuts the padding of a frame for 32-bit results only.

    Args:
        plan: The overlay.
    """
    images = [1, *plan.input_shape]
    logits = [1, plan.classes]
    shapes: dict[str, Any] = {
        "idt": ["DataType['UINT8']"],
        "odt": [f"DataType['INT{RESULT_BITS}']"],
        "ishape_normal": [images],
        "ishape_folded": [images],
        "ishape_packed": [images],
        "oshape_normal": [logits],
        "oshape_folded": [logits],
        "oshape_packed": [[1, plan.bytes_per_frame]],
        "idma_names": ["idma0"],
        "odma_names": ["odma0"],
        "num_inputs": 1,
        "num_outputs": 1,
        "number_of_external_weights": 0,
        "external_weights_input_shapes": {},
    }
    return {
        "driver_information": {
            "driver_type": "FINNDMAOverlay",
            "platform": "zynq-iodma",
            "io_shape_dict": shapes,
            "external_weights": {},
            "runtime_weights": False,
            "fclk_mhz": plan.planned_mhz,
        },
        "experiment_information": {},
    }
