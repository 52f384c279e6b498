"""Whatever a client asks, the answer is one of those that are meant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.boardserver.audit import AuditLog
from hw.boardserver.board import Board
from hw.boardserver.deadlines import Deadline
from hw.boardserver.errors import INTERNAL, RequestError
from hw.boardserver.leases import LeaseTable
from hw.boardserver.overlays import OverlayFolder
from hw.boardserver.results import ResultStore
from hw.boardserver.service import Service

OVERLAY = "net_simulated_0123"
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["hello", "overlays", "lease", "renew", "release", "recover", "run"])
        | ANYTHING,
        "overlay": st.just(OVERLAY) | ANYTHING,
        "token": st.integers(0, 30) | ANYTHING,
        "batch": st.sampled_from(["a", "b"]) | ANYTHING,
        "shape": st.just([2, 4, 4, 1]) | ANYTHING,
        "ttl_s": st.floats(0, 0.2) | ANYTHING,
        "wait_s": st.floats(0, 0.01) | ANYTHING,
        "first_frame": st.integers(0, 3) | ANYTHING,
        "seed": st.integers(0, 3) | ANYTHING,
        "deadline_s": st.floats(0.4, 0.6) | ANYTHING,
    },
)


@pytest.fixture
def service(tmp_path, device, overlay_folder):
    overlay_folder(tmp_path / "root")
    board = Board(device, OverlayFolder(tmp_path / "root"), tmp_path / "quarantine.json")
    yield Service(
        board,
        LeaseTable(tmp_path / "token.json"),
        ResultStore(tmp_path / "results"),
        AuditLog(tmp_path / "audit.jsonl"),
        1 << 20,
    )
    board.close()


@settings(max_examples=150)
@given(
    requests=st.lists(
        st.tuples(REQUESTS, st.sampled_from(["anna", "bela"]), st.binary(max_size=40)), max_size=5
    )
)
def test_no_request_is_a_bug_of_the_server(service, requests):
    for header, client, payload in requests:
        data = bytearray(payload)
        try:
            service.admit(client, header, len(data))
        except RequestError:
            continue
        answer = service.answer(client, header, data, Deadline.after(0.5))
        assert answer.header["ok"] or answer.header["error"]["code"] != INTERNAL, answer.header
