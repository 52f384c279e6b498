"""Shards on a Dask cluster.

A build goes to the cluster as the result of a task of its own, so the scheduler can make it again when the
worker that held it dies. Everything else travels with the shard, and the shard's files come back as bytes:
the workers need no folder in common with anyone.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import distributed
from distributed.client import FIRST_COMPLETED
from distributed.scheduler import KilledWorker
from distributed.security import Security

from bitsiege.campaign.bench import pack_build
from bitsiege.campaign.compute import compute
from bitsiege.campaign.executors import Order
from bitsiege.campaign.security import ClusterAccess
from bitsiege.campaign.work import Files
from export.errors import BitsiegeError, ToolError

_CONNECT_S = 30.0
_SHARDS_A_THREAD = 3
_LEAST_FLYING = 8
_PATIENCE_S = 30.0
_BOARD_PATIENCE_S = 300.0
_INFO_AGE_S = 1.0


class ClusterExecutor:
    """Gives shards to the workers of a cluster; what a dead worker had goes to the others."""

    def __init__(self, access: ClusterAccess, *, note: Callable[[str], None]) -> None:
        self._note = note
        self._builds: dict[str, distributed.Future] = {}
        self._flying: dict[distributed.Future, str] = {}
        self._heard_s = time.monotonic()
        self._known: dict[str, Any] = {}
        self._asked_s = -math.inf
        self._missed_s: dict[str, float] = {}
        try:
            self._client = distributed.Client(
                access.address, security=_security(access), timeout=_CONNECT_S, set_as_default=False
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolError(
                f"can't reach the cluster {access.address}: {error or type(error).__name__}",
                hint="start one with dask scheduler, and dask worker on each machine",
            ) from error
        workers = self._workers()
        threads = sum(int(worker["nthreads"]) for worker in workers.values())
        note(f"cluster {access.address}: {len(workers)} workers with {threads} threads")

    def accepts(self, resource: str | None) -> bool:
        """Whether a few shards a thread are out there; the scheduler itself sees to resources.

        Raises:
            ToolError: No worker has offered the resource for minutes.
        """
        workers = self._workers().values()
        if resource is not None and not any(w["resources"].get(resource, 0) >= 1 for w in workers):
            missed_s = self._missed_s.setdefault(resource, time.monotonic())
            if time.monotonic() - missed_s > _BOARD_PATIENCE_S:
                raise ToolError(
                    f"no worker of the cluster offers {resource}",
                    hint=f'start one beside the board: dask worker ADDRESS --resources "{resource}=1"',
                )
            return False
        self._missed_s.pop(resource or "", None)
        threads = sum(int(worker["nthreads"]) for worker in workers)
        return len(self._flying) < max(_LEAST_FLYING, _SHARDS_A_THREAD * threads)

    def submit(self, order: Order) -> None:
        """Give an order to the scheduler."""
        digest = order.work.build
        with warnings.catch_warnings():
            # Dask advises against large arguments; a build has to get there one way or another.
            warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
            if digest not in self._builds:
                packed = pack_build(order.path)
                self._builds[digest] = self._client.submit(_hand_over, packed, key=f"bitsiege-build-{digest}")
            future = self._client.submit(
                compute,
                order.work,
                self._builds[digest],
                key=f"bitsiege-shard-{order.work.key}",
                resources=None if order.resource is None else {order.resource: 1},
            )
        self._flying[future] = order.work.key

    def collect(self, timeout_s: float) -> list[tuple[str, Files]]:
        """Wait for finished shards."""
        if not self._flying:
            # What is left waits for a worker that offers a resource.
            time.sleep(timeout_s)
            return []
        try:
            # The module's function asks for a current client; the futures know theirs.
            with self._client.as_current():
                waited: Any = distributed.wait(
                    list(self._flying), timeout=timeout_s, return_when=FIRST_COMPLETED
                )
        except TimeoutError:
            self._look_after()
            return []
        self._heard_s = time.monotonic()
        return [(self._flying.pop(future), self._result(future)) for future in waited.done]

    def close(self) -> None:
        """Leave the cluster, dropping what isn't done."""
        if self._flying:
            self._client.cancel(list(self._flying))
        self._client.close()

    def _result(self, future: Any) -> Files:
        try:
            return future.result()
        except BitsiegeError:
            raise
        except KilledWorker as error:
            raise ToolError(
                f"a shard ended with each of the workers that had it: {error}",
                hint="memory may be short there; the same command goes on where it stopped",
            ) from error
        except (distributed.CancelledError, OSError) as error:
            raise ToolError(
                f"the cluster is gone: {type(error).__name__}",
                hint="start it again; the same command goes on where it stopped",
            ) from error
        finally:
            future.release()

    def _look_after(self) -> None:
        """Say so when nothing comes, and end when the scheduler is gone."""
        if self._client.status in ("closed", "closing"):
            raise ToolError(
                "the cluster's scheduler is gone", hint="start it again; the same command goes on"
            )
        if time.monotonic() - self._heard_s > _PATIENCE_S and not self._workers():
            self._heard_s = time.monotonic()
            self._note("the cluster has no worker: dask worker ADDRESS starts one")

    def _workers(self) -> dict[str, Any]:
        """The workers by address, as they were a second ago at most."""
        if time.monotonic() - self._asked_s > _INFO_AGE_S:
            self._known = self._client.scheduler_info(n_workers=-1)["workers"]
            self._asked_s = time.monotonic()
        return self._known


def _hand_over(packed: bytes) -> bytes:
    """Be the task whose result a build is."""
    return packed


def _security(access: ClusterAccess) -> Security | None:
    if access.tls is None:
        return None
    authority, certificate, key = (str(path) for path in access.tls)
    return Security(
        tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
    )
