"""``bitsiege board``: accelerators on boards elsewhere, or on a simulated one here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from bitsiege.cli.options import BoardsFile, BuildDir, CacheDir, DrawSeed, Json

if TYPE_CHECKING:
    from rich.table import Table

    from hw.remote import BoardEntry

BoardName: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="As `bitsiege board list` shows it.", show_default=False)
]

board = typer.Typer(
    help="Run networks on boards elsewhere: certificates, server, batches.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@board.command("enrol")
def enrol(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call the board.", show_default=False)],
    address: Annotated[
        str,
        typer.Option(
            "--address", metavar="HOST[:PORT]", help="Where its server will be.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="New folder for the board's files.", show_default=False
        ),
    ],
    client: Annotated[str, typer.Option("--client", metavar="USER", help="Your name on the board.")] = "user",
    boards: BoardsFile = None,
    json: Json = False,
) -> int:
    """Make certificates for a board and for you, and remember the board.

    DIR is for the board; it holds its private key, so move it there and don't keep it.

    [bold]Example[/bold]: bitsiege board enrol z1 --address 192.168.2.99 -o z1-credentials
    """
    from bitsiege.cli.console import say, show_json
    from hw.boardserver.serve import PORT
    from hw.remote import enrol as enrol_board
    from hw.remote import parse_address, registry_path

    host, port = parse_address(address, PORT)
    path = registry_path(boards)
    entry = enrol_board(name, host=host, port=port, registry=path, board_folder=output, client=client)
    if json:
        show_json({"board": _entry_json(entry), "credentials": str(output), "boards": str(path)})
    else:
        say(f"{path} knows {name} now. Move {output} to the board; on it:")
        say("  python3 -m bitsiege_boardserver --root OVERLAYS --state STATE --credentials DIR")
    return 0


@board.command("serve")
def serve(
    state: Annotated[
        Path,
        typer.Option(
            "--state",
            metavar="DIR",
            help="The server's own files: audit log, results, tokens.",
            show_default=False,
        ),
    ],
    simulate: Annotated[
        list[Path] | None,
        typer.Option(
            "--simulate", metavar="BUILD", help="Serve a simulated board with this network; repeatable."
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="DIR", help="Folder of overlays, as packaged; STATE/overlays without it."
        ),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option("--credentials", metavar="DIR", help="What `bitsiege board enrol` wrote for the board."),
    ] = None,
    insecure_loopback: Annotated[
        bool,
        typer.Option("--insecure-loopback", help="No certificates; programs of this machine only."),
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST", help="Address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 7968,
    kind: Annotated[
        str | None, typer.Option("--board", metavar="NAME", help="What kind of board it is.")
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option("--faults", metavar="F.json", help="Faults of a simulated board, by name and number."),
    ] = None,
    rtl: Annotated[
        bool, typer.Option("--rtl", help="Simulate the circuit itself, with Verilator; slow.")
    ] = False,
    cache_dir: CacheDir = None,
) -> int:
    """Serve the accelerators of this board, or a simulated board.

    It prints `listening HOST PORT`, and serves until it is interrupted. A board itself needs no bitsiege,
    only the two packages in the overlay's folder.

    [bold]Example[/bold]: bitsiege board serve --simulate build --state s --insecure-loopback
    """
    from bitsiege.boards import serve_board

    serve_board(
        builds=simulate or [],
        state=state,
        root=root,
        credentials=credentials,
        insecure_loopback=insecure_loopback,
        address=(listen, port),
        kind=kind,
        faults=faults,
        rtl=rtl,
        cache_dir=cache_dir,
    )
    return 0


@board.command("list")
def list_(
    boards: BoardsFile = None,
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the boards.")] = False,
    json: Json = False,
) -> int:
    """Show the boards that you know, and how they are.

    [bold]Example[/bold]: bitsiege board list
    """
    from bitsiege.boards import ask_boards
    from bitsiege.cli.console import show, show_json
    from hw.remote import read_registry, registry_path

    path = registry_path(boards)
    entries = read_registry(path)
    states = {} if offline else ask_boards(list(entries.values()))
    rows = [_entry_json(entry) | {"state": states.get(name)} for name, entry in entries.items()]
    if json:
        show_json({"boards": rows, "file": str(path)})
    else:
        show(_table(rows))
    return 0


@board.command("run")
def run(
    name: BoardName,
    build: BuildDir,
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT.npz", help="Logits and labels.", show_default=False),
    ],
    boards: BoardsFile = None,
    draw_seed: DrawSeed = 0,
    json: Json = False,
) -> int:
    """Compute the integer logits of images on a board.

    Interrupted, the same command goes on where it was: OUT.npz.partial-NAME keeps the answers so far.

    [bold]Example[/bold]: bitsiege board run z1 build --images x.npy -o out.npz
    """
    from bitsiege.boards import run_on_board
    from bitsiege.cli.console import progress, say, show_json

    with progress() as listener:
        summary = run_on_board(
            name,
            build,
            images=images,
            output=output,
            boards=boards,
            draw_seed=draw_seed,
            progress=listener,
        )
    if json:
        show_json(summary)
    else:
        say(f"{output}: {summary['images']:,} images on {summary['target']} ({summary['kind']})")
    return 0


@board.command("recover")
def recover(
    name: BoardName,
    overlay: Annotated[
        str, typer.Argument(metavar="OVERLAY", help="Name of an overlay's folder on it.", show_default=False)
    ],
    boards: BoardsFile = None,
    json: Json = False,
) -> int:
    """Try to end a board's quarantine: reset, load, known answers.

    [bold]Example[/bold]: bitsiege board recover z1 tfc_pynqz1_0123456789ab
    """
    from bitsiege.boards import recover_board
    from bitsiege.cli.console import say, show_json

    state = recover_board(name, overlay, boards)
    if json:
        show_json(state)
    else:
        say(f"board {name} is {state['state']} with {state['overlay']}")
    return 0


def _entry_json(entry: BoardEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "host": entry.host,
        "port": entry.port,
        "certificates": entry.identity is not None,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("board", "address", "kind", "state", "overlay", "temperature [°C]"):
        table.add_column(heading)
    for row in rows:
        state = row["state"] or {}
        temperatures = state.get("temperatures_c") or {}
        # What a board says of itself may not be what a terminal should obey.
        cells = (
            row["name"],
            f"{row['host']}:{row['port']}",
            str(state.get("kind", "–")),
            str(state.get("state", "not asked" if row["state"] is None else "unreachable")),
            str(state.get("overlay") or "–"),
            f"{max(temperatures.values()):.1f}" if temperatures else "–",
        )
        table.add_row(*(Text("".join(c for c in cell if c.isprintable())) for cell in cells))
    return table
