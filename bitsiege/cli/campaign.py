"""``bitsiege campaign``: many evaluations, on all cores or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import CacheDir, DataDir, Json

if TYPE_CHECKING:
    from rich.table import Table

    from bitsiege.campaign.security import ClusterAccess


def campaign(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG.toml]", help="What to evaluate.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Its folder; runs/NAME without it.")
    ] = None,
    status: Annotated[
        Path | None,
        typer.Option("--status", metavar="DIR", help="Show what a campaign has by now, and do nothing."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes; one a core without it.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Dask scheduler to compute on: tls://HOST:PORT."),
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", metavar="CA.pem", help="Who vouches for the cluster.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="CERT.pem", help="Who this machine is.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="KEY.pem", help="Its key.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Accept a cluster without TLS on another machine.")
    ] = False,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Attack and replay models x attacks x epsilons x seeds x images, in shards.

    The folder keeps every shard by its content: the same command goes on after an interruption, and gives the
    same bytes on any number of processes or machines. The exit status is 1 when two targets disagree.

    [bold]Example[/bold]: bitsiege campaign nightly.toml --out runs/nightly --jobs 8
    """
    from bitsiege.campaign.job import campaign_status
    from bitsiege.cli.console import show, show_json
    from export.errors import InputError

    if (config is None) == (status is None):
        raise InputError(
            "give either CONFIG.toml or --status DIR", hint="bitsiege campaign CONFIG.toml --out DIR"
        )
    if status is not None:
        summary = campaign_status(status)
    else:
        from bitsiege.campaign.security import ClusterAccess

        access = None
        tls = (tls_ca, tls_cert, tls_key)
        if cluster is not None:
            access = ClusterAccess.checked(cluster, tls=tls, insecure=insecure)
        elif any(tls) or insecure:
            raise InputError("--tls-... and --insecure are about a cluster", hint="give --cluster ADDRESS")
        if cluster is not None and jobs is not None:
            raise InputError(
                "give either --jobs or --cluster", hint="a cluster has as many workers as it was started with"
            )
        summary = _run(Path(config or ""), out, jobs, access, data_dir, cache_dir)
    if json:
        show_json(summary)
    else:
        show(_table(summary))
    return 1 if summary["divergences"] else 0


def _run(
    config: Path,
    out: Path | None,
    jobs: int | None,
    access: ClusterAccess | None,
    data_dir: Path | None,
    cache_dir: Path | None,
) -> dict[str, Any]:
    import os

    from bitsiege.campaign.config import load_campaign
    from bitsiege.campaign.executors import Executor, InProcess, LocalPool
    from bitsiege.campaign.job import Surroundings, run_campaign
    from bitsiege.cli.command import invocation
    from bitsiege.cli.console import progress, say

    chosen = load_campaign(config)
    path = Path("runs") / chosen.name if out is None else out
    count = jobs or len(os.sched_getaffinity(0))
    with progress() as listener:

        def make_executor() -> Executor:
            if access is not None:
                from bitsiege.campaign.cluster import ClusterExecutor

                return ClusterExecutor(access, note=listener.note)
            if count == 1:
                return InProcess(cache_dir=cache_dir)
            return LocalPool(count, cache_dir=cache_dir)

        summary = run_campaign(
            chosen,
            path,
            surroundings=Surroundings(base=config.parent, data_dir=data_dir, command=invocation.text),
            make_executor=make_executor,
            progress=listener,
        )
    say(f"{path / 'campaign.json'}: {len(summary['results'])} results")
    return summary


def _table(summary: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    shards = summary["shards"]
    state = "finished" if summary["finished"] else f"{shards['done']} of {shards['total']} shards are done"
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{summary['name']}: {summary['data']['name']}, {summary['data']['images']} images; {state}",
        title_justify="left",
        caption=r"\[low, high] is Wilson's 95 % interval of the accuracy under attack",
        caption_justify="left",
    )
    for heading in ("model", "attack", "target"):
        table.add_column(heading)
    for heading in ("eps", "seed", "images", "clean", "under attack", "", "divergences"):
        table.add_column(heading, justify="right")
    for result in summary["results"]:
        for row in _rows(result):
            table.add_row(*row)
    return table


def _rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    from bitsiege.campaign.plan import attack_text

    epsilon = "–" if result["epsilon"] is None else f"{result['epsilon']:g}"
    attack = attack_text(result["title"], result["source"])
    name, of = (result["model"], attack), (epsilon, str(result["seed"]))
    if not result["targets"]:
        return [(*name, "–", *of, f"0/{result['images']}", "–", "–", "", "–")]
    rows: list[tuple[str, ...]] = []
    for target in result["targets"]:
        clean, attacked = target["clean"], target["adversarial"]
        low, high = attacked["wilson"]
        images = f"{target['images']:,}"
        rows.append(
            (
                *name,
                target["target"],
                *of,
                images if result["finished"] else f"{images}/{result['images']:,}",
                f"{100 * clean['accuracy']:.1f} %",
                f"{100 * attacked['accuracy']:.1f} %",
                rf"\[{100 * low:.1f}, {100 * high:.1f}]",
                str(clean["diverging_images"] + attacked["diverging_images"]),
            )
        )
    return rows
