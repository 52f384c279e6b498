"""Drives an overlay with FINN's driver alone; arguments: port, folder, images, batch size."""

import json
import sys
from pathlib import Path

import numpy as np
from bitsiege_pynq import BitsiegeOverlay, WrongOverlayError
from finn_plus_driver import get_driver_class
from pynq import Device
from pynq.pl_server.remote_device import RemoteDevice

port, folder, images, batch = int(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3]), int(sys.argv[4])
(bitfile,) = folder.glob("*.bit")
device = RemoteDevice(0, "127.0.0.1", port)
Device.active_device = device
found = {}
try:
    BitsiegeOverlay(bitfile, device=device, self_test=False)
except WrongOverlayError as error:
    found["refused"] = error.message
else:
    settings = json.loads((folder / "settings.json").read_text())["driver_information"]
    settings["batch_size"] = batch
    accelerator = get_driver_class(settings["driver_type"])(str(bitfile), device=device, **settings)
    accelerator.obuf_packed = [np.empty(buffer.shape, np.uint8) for buffer in accelerator.obuf_packed]
    parts = [accelerator.execute(images[start : start + batch]) for start in range(0, len(images), batch)]
    found["finn"] = np.concatenate(parts).astype(int).tolist()
sys.stdout.write(f"FOUND {json.dumps(found)}\n")
