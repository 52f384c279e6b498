"""Drives an overlay with unmodified pynq, finn-plus-driver, then ours; arguments: port, folder, images."""

import json
import sys
from pathlib import Path

import numpy as np
from bitsiege_pynq import BitsiegeOverlay, ClockError, WrongBoardError
from finn_plus_driver import get_driver_class
from pynq import MMIO, Device, Overlay, allocate
from pynq.pl_server.remote_device import RemoteDevice
from pynq.ps import Clocks

port, folder, images = int(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
(bitfile,) = folder.glob("*.bit")
device = RemoteDevice(0, "127.0.0.1", port)
Device.active_device = device
found = {"arch": device.arch, "board": device.name}

# pynq by itself: a batch by registers.
overlay = Overlay(str(bitfile), device=device)
found["blocks"] = sorted(set(overlay.ip_dict) & {"idma0", "odma0", "control0"})
found["types"] = [overlay.ip_dict[name]["type"] for name in found["blocks"]]
control = MMIO(overlay.ip_dict["control0"]["phys_addr"], 0x1000, device=device)
found["magic"] = control.read(0x10)
found["fclk"] = [Clocks.fclk0_mhz]
source = allocate(images.shape, np.uint8, target=device)
sink = allocate((len(images), overlay.odma0.read(0x24)), np.uint8, target=device)
source[:] = images
source.flush()
for block, buffer in ((overlay.odma0, sink), (overlay.idma0, source)):
    block.write(0x10, buffer.device_address & 0xFFFFFFFF)
    block.write(0x14, buffer.device_address >> 32)
    block.write(0x1C, len(images))
    block.write(0x00, 1)
while not overlay.odma0.read(0x00) & 2:
    pass
sink.invalidate()
found["pynq"] = np.ascontiguousarray(sink).view("<i4").tolist()
source.freebuffer()
sink.freebuffer()

# FINN's driver, by its settings.
settings = json.loads((folder / "settings.json").read_text())["driver_information"]
settings["batch_size"] = len(images)
accelerator = get_driver_class(settings["driver_type"])(str(bitfile), device=device, **settings)
# pynq 4.0.0 loses an attribute of its remote buffers in np.unpackbits, which FINN's driver applies to 32-bit
# results; on a board there is another class of buffers. The arrays to copy into may be any, so: plain ones.
accelerator.obuf_packed = [np.empty(buffer.shape, np.uint8) for buffer in accelerator.obuf_packed]
found["finn"] = accelerator.execute(images).astype(int).tolist()
found["finn_again"] = accelerator.execute(images.astype(np.float32)).astype(int).tolist()
found["finn_keys"] = sorted(accelerator.throughput_test())

# Ours: files, board, circuit, clock and known answers are checked.
own = BitsiegeOverlay(bitfile, batch_size=7, device=device, timeout_s=20.0)
found["own"] = own.logits(images).tolist()
found["own_labels"] = own.predict(images).tolist()
found["own_keys"] = sorted(own.throughput_test())
low, high = own.clock.measured
found["clock"] = [own.clock.set, low, high]
own.close()
try:
    BitsiegeOverlay(bitfile, device=device, fclk_mhz=own.clock.timed * 1.5)
except ClockError as error:
    found["clock_error"] = error.message
device.name = "Pynq-Z9"
try:
    BitsiegeOverlay(bitfile, device=device)
except WrongBoardError as error:
    found["board_error"] = error.message
sys.stdout.write(f"FOUND {json.dumps(found)}\n")
