"""Boards elsewhere, as the host sees them: who they are, certificates, leases, batches."""

from hw.remote.client import BoardAnswerError, BoardClient, UnreachableError
from hw.remote.enrol import enrol
from hw.remote.registry import BoardEntry, Identity, find_entry, parse_address, read_registry, registry_path
from hw.remote.session import BoardSession
from hw.remote.target import PREFIX, BoardUse, RemoteTarget

__all__ = [
    "PREFIX",
    "BoardAnswerError",
    "BoardClient",
    "BoardEntry",
    "BoardSession",
    "BoardUse",
    "Identity",
    "RemoteTarget",
    "UnreachableError",
    "enrol",
    "find_entry",
    "parse_address",
    "read_registry",
    "registry_path",
]
