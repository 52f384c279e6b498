"""The overlay in FINN's words: ``io_shape_dict``, and the ``settings.json`` of finn-plus-driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .errors import BadInputError
from .manifest import Manifest
from .packing import ElementType, parse_type

_PLATFORM = "zynq-iodma"


def finn_shapes(manifest: Manifest) -> dict[str, Any]:
    """Return the ``io_shape_dict`` of an overlay; the batch, first of each shape, is 1."""
    height, width, channels = manifest.input_shape
    image = [1, height, width, channels]
    return {
        "idt": ["DataType['UINT8']"],
        "odt": [f"DataType['{manifest.output_type.upper()}']"],
        "ishape_normal": [image],
        "oshape_normal": [[1, manifest.classes]],
        "ishape_folded": [image],
        "oshape_folded": [[1, manifest.classes]],
        "ishape_packed": [image],
        "oshape_packed": [[1, manifest.output_bytes]],
        "input_dma_name": ["idma0"],
        "output_dma_name": ["odma0"],
        "idma_names": ["idma0"],
        "odma_names": ["odma0"],
        "number_of_external_weights": 0,
        "num_inputs": 1,
        "num_outputs": 1,
    }


def finn_settings(manifest: Manifest, *, batch_size: int = 1) -> dict[str, Any]:
    """Return a ``settings.json`` with which finn-plus-driver 1.6 runs the overlay unmodified."""
    return {
        "driver_information": {
            "driver_type": "FINNDMAOverlay",
            "platform": _PLATFORM,
            "io_shape_dict": finn_shapes(manifest),
            "batch_size": batch_size,
            "fclk_mhz": manifest.clock.planned or manifest.clock.asked,
        }
    }


class Shapes:
    """The shapes of an accelerator's one input and one output, with the batch put in front.

    Args:
        io_shape_dict: FINN's dictionary.

    Raises:
        BadInputError: A key is missing, or it has several inputs or outputs.
    """

    def __init__(self, io_shape_dict: Mapping[str, Any]) -> None:
        if io_shape_dict.get("num_inputs", 1) != 1 or io_shape_dict.get("num_outputs", 1) != 1:
            raise BadInputError("an overlay has one input and one output")
        try:
            self.input_type = _type_of(io_shape_dict["idt"])
            self.output_type = _type_of(io_shape_dict["odt"])
            self._shapes = {
                name: tuple(int(size) for size in io_shape_dict[name][0])
                for name in (
                    "ishape_normal",
                    "oshape_normal",
                    "ishape_folded",
                    "oshape_folded",
                    "ishape_packed",
                    "oshape_packed",
                )
            }
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadInputError(f"io_shape_dict lacks or garbles {error}") from error
        self.input_dma = _name_of(io_shape_dict, "idma_names", "input_dma_name", "idma0")
        self.output_dma = _name_of(io_shape_dict, "odma_names", "output_dma_name", "odma0")

    def shape(self, name: str, batch: int) -> tuple[int, ...]:
        """Return a shape, such as ``ishape_packed``, for a batch."""
        return (batch, *self._shapes[name][1:])

    def check(self, manifest: Manifest) -> None:
        """Compare with what the overlay itself says.

        Raises:
            BadInputError: They differ; the message names the key.
        """
        own = Shapes(finn_shapes(manifest))
        for name, shape in own._shapes.items():
            if self._shapes[name][1:] != shape[1:]:
                raise BadInputError(
                    f"io_shape_dict: {name} is {list(self._shapes[name])}, the overlay has {list(shape)}",
                    hint="leave io_shape_dict out, or take the one of the overlay's settings.json",
                )
        if (self.input_type, self.output_type) != (own.input_type, own.output_type):
            raise BadInputError(
                f"io_shape_dict has {self.input_type.name} and {self.output_type.name}, "
                f"the overlay {own.input_type.name} and {own.output_type.name}"
            )


def _type_of(value: object) -> ElementType:
    """Read an entry of ``idt``: a name, or a data type of QONNX, whose text is its name."""
    first = cast("list[object]", value)[0] if isinstance(value, list) else value
    text = first if isinstance(first, str) else str(getattr(first, "name", first))
    return parse_type(text)


def _name_of(settings: Mapping[str, Any], newer: str, older: str, default: str) -> str:
    """Return the name of a DMA from either of FINN's keys, each a name or a list of one."""
    value: object = settings.get(newer, settings.get(older, default))
    if isinstance(value, list):
        names = cast("list[object]", value)
        value = names[0] if len(names) == 1 else names
    if not isinstance(value, str):
        raise BadInputError(f"io_shape_dict: {newer} must name one DMA, not {value!r}")
    return value
