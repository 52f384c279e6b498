"""A board that isn't there: the driver as it runs on boards, on the registers of an emulated overlay.

It serves to try everything without hardware. What it computes is labelled a simulation. Faults are asked for
in a file, so that they can be switched on while the server runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hw.pynq
from export.errors import InputError
from export.files import atomic_directory
from hw.boardserver.deadlines import Deadline
from hw.boardserver.device import ImageArray, IntArray
from hw.boardserver.driven import DrivenDevice, Driver
from hw.boardserver.files import read_json, write_json
from hw.boardserver.overlays import Overlay
from hw.build import Build
from hw.emulator import EmulatorTarget
from hw.overlay import OverlaySimulation, design_hash
from hw.pynq import Accelerator, Manifest, SimulationBus, parse_manifest, read_manifest
from hw.pynqremote import EmulatedOverlay, Faults
from hw.target import Inference, Target
from hw.vivado.answers import known_answers

BOARD = "Simulated"
_BASE = 0x43C0_0000
_ODMA = "odma0"
_SLOW_S = 0.5

# What a run meets, by the name that a fault file has for it.
RUN_FAULTS = {
    "stuck-dma": Faults(stuck=frozenset({_ODMA})),
    "short-stream": Faults(short=0),
    "long-stream": Faults(errors={_ODMA: 0x10}),
    "missing-tlast": Faults(errors={"idma0": 0x10}),
    "error-0x10": Faults(errors={"idma0": 0x10, _ODMA: 0x10}),
    "error-0x20": Faults(errors={_ODMA: 0x20}),
    "error-0x40": Faults(errors={"idma0": 0x40}),
    "flipped": Faults(garbled=True),
}
# What happens instead of a run, or besides it.
PROCESS_FAULTS = ("hung-driver", "slow", "reboot")
# What a load meets; "broken" lasts until it is taken out of the file.
LOAD_FAULTS = ("stale-bitstream", "clock-off", "weights-lost")
LASTING_FAULTS = ("broken",)


def write_simulated_overlay(build: Build, root: Path, board: str = BOARD) -> str:
    """Write the overlay folder of a build, with a file in the place of the bitstream.

    Args:
        build: The network.
        root: The folder of overlays.
        board: Kind of the board that it is said to be for.

    Returns:
        The overlay's name.

    Raises:
        InputError: It can't be written.
    """
    graph = build.graph
    circuit = design_hash(build)
    name = f"{build.path.resolve().name}_{board.lower()}_{circuit[:12]}"
    with atomic_directory(root / name) as folder:
        answers = known_answers(graph)
        answers.save(folder / "known_answers.npz")
        (folder / f"{name}.bit").write_text(f"simulated {circuit}\n", encoding="ascii")
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        document: dict[str, Any] = {
            "format": "bitsiege-overlay",
            "version": 1,
            "name": name,
            "board": board,
            "part": "none",
            "graph_hash": build.graph_hash,
            "design_hash": circuit,
            "model": build.path.resolve().name,
            "input": {"shape": list(graph.input_shape), "dtype": "uint8"},
            "output": {
                "classes": graph.classes,
                "dtype": "int32",
                "bytes_per_frame": -(-4 * graph.classes // 8) * 8,
            },
            "registers": {"idma0": hex(_BASE), _ODMA: hex(_BASE + 0x1000), "control0": hex(_BASE + 0x2000)},
            "clock": {"asked_mhz": build.clock_mhz, "planned_mhz": build.clock_mhz, "achieved_mhz": None},
            "draws": graph.is_stochastic,
            "files": files,
        }
        parse_manifest(document)
        (folder / "overlay.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return name


class SimulatedBoard(DrivenDevice):
    """A simulated board.

    Args:
        builds: The networks that its overlays may hold.
        board: What its kind is called.
        faults: The fault file: a JSON object with the number of times that each named fault happens.
        cache_dir: Where the emulator's native code and simulators are kept.
        load_s: See `DrivenDevice`.
        rtl: Whether the Verilated circuit computes, bus and registers included, and not the emulator behind
            the same registers. Only faults of the process can be asked for then.

    Raises:
        ToolError: Emulator or simulator can't be compiled.
    """

    def __init__(
        self,
        builds: Sequence[Build],
        *,
        board: str = BOARD,
        faults: Path | None = None,
        cache_dir: Path | None = None,
        load_s: float = 1.0,
        rtl: bool = False,
    ) -> None:
        super().__init__(
            board_id=f"simulated-{os.getpid()}",
            board_names=(board,),
            open_driver=self._open,
            driver_folder=Path(str(hw.pynq.__file__)).parent,
            simulated=True,
            load_s=load_s,
        )
        self._builds = {build.graph_hash: build for build in builds}
        self._targets: dict[str, EmulatorTarget] = {}
        self._cache_dir = cache_dir
        self._rtl = rtl
        self._verilated: OverlaySimulation | None = None
        for build in builds:
            # Compiled now, and not when somebody waits for it.
            if rtl:
                OverlaySimulation(build, cache_dir=cache_dir).close()
            else:
                self._targets[build.graph_hash] = EmulatorTarget(build.graph, cache_dir=cache_dir)
        self._faults = faults
        self._overlay: EmulatedOverlay | None = None
        self._lost = False

    def run(self, images: ImageArray, first_frame: int, seed: int, deadline: Deadline) -> IntArray:
        """Compute logits; or meet a fault that the file asks for."""
        if self._take("reboot"):
            os._exit(1)
        if self._take("slow"):
            time.sleep(_SLOW_S)
        if self._take("hung-driver"):
            time.sleep(deadline.remaining_s() + 1.0)
        asked = [fault for name, fault in RUN_FAULTS.items() if self._take(name)]
        if self._overlay is not None:
            lost = Faults(garbled=True) if self._lost else Faults()
            self._overlay.faults = asked[0] if asked else lost
        return super().run(images, first_frame, seed, deadline)

    def _open(self, overlay: Overlay) -> Driver:
        """Load an overlay into the simulation, as `hw.pynq.BitsiegeOverlay` does on a board."""
        manifest = read_manifest(overlay.folder)
        if manifest.graph_hash not in self._builds:
            raise InputError(f"the simulated board has no build of {manifest.name}")
        if self._rtl:
            return self._open_verilated(manifest)
        target = self._targets[manifest.graph_hash]
        circuit = replace(manifest, design_hash="0" * 64) if self._take("stale-bitstream") else manifest
        self._lost = self._take("weights-lost")
        self._overlay = EmulatedOverlay(circuit, _Breakable(target, self._broken))
        bus = _Bus(self._overlay, manifest, off=self._take("clock-off"))
        return Accelerator(bus, manifest)

    def _open_verilated(self, manifest: Manifest) -> Driver:
        """Configure the device: the circuit begins in reset, whatever was there before."""
        if self._verilated is not None:
            self._verilated.close()
        build = self._builds[manifest.graph_hash]
        self._verilated = OverlaySimulation(build, cache_dir=self._cache_dir)
        return Accelerator(SimulationBus(self._verilated, manifest), manifest)

    def _broken(self) -> bool:
        return self._faults is not None and bool(read_json(self._faults).get("broken"))

    def _take(self, name: str) -> bool:
        """Return whether a fault is asked for, and count it."""
        if self._faults is None:
            return False
        counts = read_json(self._faults)
        if not counts.get(name):
            return False
        write_json(self._faults, {**counts, name: counts[name] - 1})
        return True


class _Breakable:
    """A target of which some images come out wrong, always the same ones, while a fault lasts."""

    def __init__(self, target: EmulatorTarget, broken: Any) -> None:
        self.name, self.kind = target.name, target.kind
        self._target: Target = target
        self._broken = broken
        self._emulator = target

    @property
    def seed(self) -> int:
        return self._emulator.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._emulator.seed = seed

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        logits = self._target.infer(images, first_frame).logits
        if self._broken():
            logits = logits.copy()
            logits[images.reshape(len(images), -1).sum(axis=1) % 5 == 0, 0] += 1
        return Inference(logits=logits)


class _Bus(SimulationBus):
    """A bus whose clock may be set to more than the timing allows."""

    def __init__(self, overlay: EmulatedOverlay, manifest: Manifest, *, off: bool) -> None:
        super().__init__(overlay, manifest)
        self._off = off

    def clock_mhz(self) -> float | None:
        clock_mhz = super().clock_mhz()
        return clock_mhz * 1.25 if self._off and clock_mhz is not None else clock_mhz
