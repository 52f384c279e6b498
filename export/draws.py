"""±1 weights drawn anew for each frame, the same on every target: a counter-based generator, Threefry-2x32.

The generator (Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) has no
state: a block of 64 bits follows from a key and a counter, so any frame's weights can be drawn at any time,
in any order and on any number of lanes. 13 rounds are the fewest that the authors found to pass BigCrush.

    key      (seed, number of the layer)
    counter  (row * ceil(MW / 8) + column // 8, frame)

Byte ``column % 8`` of a block, counted from the least significant of its first word, decides one weight: +1
where it is below ``mean + 128``, so that P(+1) = (mean + 128) / 256 = (w + 1) / 2 for w = mean / 128.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.errors import InputError

ROUNDS = 13
BLOCK_BYTES = 8
MEAN_EXPONENT = 7
"""A mean is the integer w * 2**7, so from -1 to 127/128."""

_PARITY = 0x1BD11BDA
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_MASK = 0xFFFFFFFF

Words = npt.NDArray[np.uint32]


def threefry2x32(
    key: tuple[int, int], counter: tuple[Words, Words], rounds: int = ROUNDS
) -> tuple[Words, Words]:
    """Return the two words of each block.

    Args:
        key: Two integers below 2**32.
        counter: Two uint32 arrays that broadcast to one shape.
        rounds: Rounds; the key enters before the first and after every fourth.
    """
    keys = [np.uint32(k) for k in (key[0], key[1], _PARITY ^ key[0] ^ key[1])]
    low, high = counter[0] + keys[0], counter[1] + keys[1]
    for done in range(1, rounds + 1):
        turn = _ROTATIONS[(done - 1) % len(_ROTATIONS)]
        low = low + high
        high = low ^ (high << np.uint32(turn) | high >> np.uint32(32 - turn))
        if done % 4 == 0:
            injection = done // 4
            low = low + keys[injection % 3]
            high = high + keys[(injection + 1) % 3] + np.uint32(injection)
    return low, high


def draw_bytes(rows: int, columns: int, *, seed: int, layer: int, frame: int) -> npt.NDArray[np.uint8]:
    """Return the random bytes of one layer in one frame, uint8 ``(rows, columns)``.

    Args:
        rows: Neurons.
        columns: Inputs of a neuron; each row starts a block of its own.
        seed: The run's seed, below 2**32.
        layer: Number of the layer, below 2**32.
        frame: Index of the frame, not negative; it counts modulo 2**32.

    Raises:
        InputError: A seed or frame out of range.
    """
    check_seed(seed)
    if frame < 0:
        raise InputError(f"the index of a frame is {frame}, it must not be negative")
    blocks = -(-columns // BLOCK_BYTES)
    index = np.arange(rows * blocks, dtype=np.uint32)
    words = threefry2x32((seed, layer), (index, np.full_like(index, frame & _MASK)))
    return np.stack(words, axis=1).astype("<u4").view(np.uint8).reshape(rows, -1)[:, :columns]


def draw_weights(means: npt.NDArray[np.int8], *, seed: int, layer: int, frame: int) -> npt.NDArray[np.int8]:
    """Return the ±1 weights of one frame, int8, for the means int8 ``(MH, MW)``.

    Raises:
        InputError: A seed or frame out of range.
    """
    drawn = draw_bytes(*means.shape, seed=seed, layer=layer, frame=frame)
    return np.where(drawn < means.astype(np.int16) + 128, 1, -1).astype(np.int8)


def check_seed(seed: int) -> None:
    """Refuse a seed that the hardware's 32-bit register can't hold.

    Raises:
        InputError: It is negative, or 2**32 or more.
    """
    if not 0 <= seed <= _MASK:
        raise InputError(f"the seed of drawn weights is {seed}, it must be from 0 to 2**32 - 1")
