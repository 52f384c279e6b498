"""What ``bitsiege board`` does: serving, asking, running batches."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bitsiege.arrays import load_images
from bitsiege.inference import infer_file, save_inference
from bitsiege.outputs import check_output
from bitsiege.progress import Progress
from bitsiege.targets import draws_weights
from export.errors import InputError
from hw.build import load_build
from hw.remote import BoardAnswerError, BoardClient, BoardEntry, RemoteTarget, UnreachableError, find_entry

_ASK_S = 3.0
_RECOVER_S = 120.0
_LOAD_S, _RTL_LOAD_S = 1.0, 40.0


def serve_board(
    *,
    builds: list[Path],
    state: Path,
    root: Path | None,
    credentials: Path | None,
    insecure_loopback: bool,
    address: tuple[str, int],
    kind: str | None,
    faults: Path | None,
    rtl: bool,
    cache_dir: Path | None,
) -> None:
    """Serve until the process is told to end.

    Args:
        builds: Networks of a simulated board; none for the board that this is.
        state: Folder of the server's own files.
        root: Folder of the overlays; None for one in ``state``, where a simulated board's are written.
        credentials: Folder that enrolling wrote for the board.
        insecure_loopback: Serve without certificates, this machine only.
        address: Host and port.
        kind: What the board is called; None for what it says itself.
        faults: Fault file of a simulated board.
        rtl: Whether a simulated board computes with the Verilated circuit.
        cache_dir: Where native code is kept.

    Raises:
        InputError: Options that contradict each other, or a folder or address that can't be used.
    """
    from hw.boardserver.device import BoardDevice
    from hw.boardserver.driven import pynq_device, read_board_id, read_board_name
    from hw.boardserver.serve import Credentials, ServerPlan, announce_on_stdout, make_server, run_server

    if (credentials is None) != insecure_loopback:
        raise InputError(
            "a board server needs certificates, or must not be reached from elsewhere",
            hint="--credentials DIR, or --insecure-loopback",
        )
    if (faults is not None or rtl) and not builds:
        raise InputError("--faults and --rtl are for a simulated board", hint="--simulate BUILD")
    overlays = state / "overlays" if root is None else root
    try:
        overlays.mkdir(parents=True, exist_ok=True)
        if builds:
            device: BoardDevice = _simulated(
                builds, overlays if root is None else None, kind, faults, rtl, cache_dir
            )
        else:
            named = kind or read_board_name()
            if named is None:
                raise InputError(
                    "this machine is no PYNQ board", hint="--simulate BUILD serves a simulated one"
                )
            device = pynq_device("hw.pynq", read_board_id(), (named,))
        plan = ServerPlan(
            root=overlays,
            state=state,
            host=address[0],
            port=address[1],
            credentials=None if credentials is None else Credentials.of_folder(credentials),
        )
        server = make_server(plan, device)
    except (OSError, ValueError) as error:
        raise InputError(
            f"can't serve: {error}", hint="look at the folders, certificates and address"
        ) from error
    run_server(server, announce_on_stdout)


def _simulated(
    paths: list[Path],
    overlays: Path | None,
    kind: str | None,
    faults: Path | None,
    rtl: bool,
    cache_dir: Path | None,
) -> Any:
    from hw.remote.simulated import BOARD, SimulatedBoard, write_simulated_overlay

    loaded = [load_build(path) for path in paths]
    named = BOARD if kind is None else kind
    # A folder that the user names holds overlays already, such as those that `bitsiege package` wrote.
    if overlays is not None:
        for build in loaded:
            write_simulated_overlay(build, overlays, named)
    load_s = _RTL_LOAD_S if rtl else _LOAD_S
    return SimulatedBoard(loaded, board=named, faults=faults, cache_dir=cache_dir, load_s=load_s, rtl=rtl)


def ask_boards(entries: list[BoardEntry]) -> dict[str, dict[str, Any]]:
    """Ask all boards at once how they are; the answer of one that can't be reached is its ``error``."""

    def ask(entry: BoardEntry) -> dict[str, Any]:
        try:
            client = BoardClient(entry)
            try:
                return client.call({"op": "hello"}, timeout_s=_ASK_S)[0]
            finally:
                client.close()
        except (UnreachableError, BoardAnswerError, InputError) as error:
            return {"error": error.message}

    with ThreadPoolExecutor(max(1, min(16, len(entries)))) as pool:
        return dict(zip([entry.name for entry in entries], pool.map(ask, entries), strict=True))


def recover_board(name: str, overlay: str, boards: Path | None) -> dict[str, Any]:
    """Try to end a board's quarantine; return how it is then.

    Raises:
        ToolError: It can't be reached, or failed again.
    """
    client = BoardClient(find_entry(name, boards))
    try:
        return client.call({"op": "recover", "overlay": overlay}, timeout_s=_RECOVER_S)[0]
    finally:
        client.close()


def run_on_board(
    name: str,
    build: Path,
    *,
    images: Path,
    output: Path,
    boards: Path | None,
    draw_seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Compute a file of images on a board; an interrupted run goes on where it was.

    Returns:
        What was done and with what, as JSON values.

    Raises:
        InputError: A file, build or board can't be used.
        ToolError: The board can't be reached, or fails.
    """
    check_output(output, images)
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    target = RemoteTarget(
        loaded,
        name,
        boards=boards,
        seed=draw_seed,
        journal=partial_folder(output, name),
        subject=hash_file(images),
    )
    try:
        result = infer_file(target, pixels, progress)
        drawn = draws_weights(loaded.graph)
        save_inference(output, result, draw_seed=draw_seed if drawn else None)
        target.finish()
    finally:
        target.close()
    return {
        "target": target.name,
        "kind": str(target.kind),
        "graph_hash": loaded.graph_hash,
        "images": len(pixels),
        "draw_seed": draw_seed if drawn else None,
        "output": str(output),
        "board": target.use.to_json(),
    }


def partial_folder(output: Path, target: str) -> Path:
    """Return where the answers of a board are kept until an output is complete."""
    return output.with_name(f"{output.name}.partial-{target.replace(':', '-')}")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
