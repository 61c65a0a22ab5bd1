"""`risecurve`: every command. Human output with progress on standard error; with `--json`
one line of JSON on standard output.
"""

import os
import sys
from enum import StrEnum
from typing import Annotated

import orjson
import typer

from deploy import bridge_commands, commands
from deploy.process import StartError
from deploy.vault_plan import DELAY_S, DELAY_S_MIN, VaultPlan
from engine.control import Scale
from engine.errors import RiseCurveError
from engine.limits import GATEWAYS_MAX, SHARDS_MAX

app = typer.Typer(
    name="risecurve",
    help="An actor-based real-time launchpad and trading engine for RISE Chain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


bridge = typer.Typer(help="The bridge between Sepolia and RISE.", no_args_is_help=True)
app.add_typer(bridge, name="bridge")


def _at(address: str) -> str:
    # Ray's own variable, and ours.
    if address:
        os.environ["RAY_ADDRESS"] = address
    return address


RayAddress = Annotated[
    str,
    typer.Option(
        "--ray-address", help="The Ray cluster it is on, HOST:PORT; RAY_ADDRESS.", callback=_at
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output.")]


class Scenario(StrEnum):
    """What the demo shows."""

    TRADES = "trades"
    BRIDGE = "bridge"


@app.command()
def demo(
    *,
    exit_: Annotated[bool, typer.Option("--exit", help="End when the trades are done.")] = False,
    json: Json = False,
    trades: Annotated[int | None, typer.Option(min=1, max=100_000)] = None,
    tokens: Annotated[int, typer.Option(min=2, max=64)] = 8,
    traders: Annotated[int, typer.Option(min=1, max=200)] = 8,
    seed: int = 1,
    graduate: Annotated[
        bool, typer.Option(help="Take a token of each curve family through graduation.")
    ] = False,
    keep: Annotated[bool, typer.Option(help="Use the data folder, and leave it.")] = False,
    scenario: Annotated[
        Scenario, typer.Option(help="Trades, or transfers between the two chains.")
    ] = Scenario.TRADES,
    transfers: Annotated[
        int, typer.Option(min=1, max=10_000, help="Of the scenario `bridge`, both ways.")
    ] = 100,
) -> None:
    """Bring everything up and watch real trades being made, or real transfers."""
    wanted = trades or (300 if exit_ else None)
    plan = commands.DemoPlan(
        trades=wanted,
        tokens=tokens,
        traders=traders,
        seed=seed,
        keep=keep,
        view=not exit_,
        graduate=graduate,
        transfers=transfers if scenario is Scenario.BRIDGE else None,
    )
    _end(commands.demo(plan), json=json)


@app.command()
def up(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Bring the system up and serve until Ctrl-C or SIGTERM. On a Ray cluster it then stays, and
    a second `up` finds it; `down` ends it.
    """
    _end(commands.up(json=json), json=json)


@app.command()
def down(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Drain and end the running system, detached actors too."""
    _end(commands.down(), json=json)


@app.command()
def drain(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Finish what is begun and write what must be written; roles stay."""
    _end(commands.drain(), json=json)


@app.command()
def status(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Nodes, roles, processes, markets, lag, mailboxes, memory."""
    _end(commands.status(), json=json)


@app.command()
def scale(
    *,
    shards: Annotated[int | None, typer.Option(min=1, max=SHARDS_MAX)] = None,
    gateways: Annotated[int | None, typer.Option(min=1, max=GATEWAYS_MAX)] = None,
    stream_gateways: Annotated[int | None, typer.Option(min=0, max=GATEWAYS_MAX)] = None,
    ray_address: RayAddress = "",
    json: Json = False,
) -> None:
    """Have so many shards and doors from now on, while it runs; without a number, say how many."""
    _end(commands.scale(Scale(shards, gateways, stream_gateways)), json=json)


@app.command()
def verify(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Compare every market in memory with the contract at one block; exit 1 on any difference."""
    _end(commands.verify(), json=json)


@app.command()
def replay(
    *,
    from_zero: Annotated[
        bool, typer.Option("--from-zero", help="Read the chain from its first block.")
    ] = False,
    json: Json = False,
) -> None:
    """Rebuild all state from the chain beside the running one and compare; exit 1 if it differs."""
    _end(commands.replay(from_zero=from_zero), json=json)


@app.command()
def migrate(*, json: Json = False) -> None:
    """Bring the database's schema up to date."""
    _end(commands.migrate(), json=json)


@app.command()
def openapi(*, json: Json = False) -> None:
    """Print the API's OpenAPI 3.1 document; --json on one line."""
    _end(commands.openapi(), json=json)


@app.command()
def asyncapi(*, json: Json = False) -> None:
    """Print the realtime doors' AsyncAPI 3.0 document; --json on one line."""
    _end(commands.asyncapi(), json=json)


@app.command()
def devnet(
    *,
    reset: Annotated[bool, typer.Option(help="Forget the local chains and all data.")] = False,
    json: Json = False,
) -> None:
    """Run the two local chains alone, contracts deployed, until Ctrl-C."""
    _end(commands.devnet(reset=reset, json=json), json=json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure against the peers; parts and options as of `python -m bench --help`."""
    raise typer.Exit(commands.bench(context.args))


@app.command()
def deploy(
    *,
    chain: Annotated[str, typer.Option(help="rise or sepolia")],
    dry_run: Annotated[bool, typer.Option(help="Simulate; send nothing.")] = False,
    signers: Annotated[
        str, typer.Option(help="A vault too: its attestors' addresses, separated by commas.")
    ] = "",
    threshold: Annotated[int, typer.Option(help="How many of them must sign.")] = 2,
    guardians: Annotated[str, typer.Option(help="Who may pause it at once.")] = "",
    limit: Annotated[str, typer.Option(help="ETH that may leave in any 24 hours.")] = "10",
    minimum: Annotated[str, typer.Option(help="ETH that a deposit is at least.")] = "0.001",
    fee_bps: Annotated[int, typer.Option(min=0, max=100)] = 10,
    delay: Annotated[
        int, typer.Option(min=DELAY_S_MIN, max=30 * 86_400, help="Seconds that changes wait.")
    ] = DELAY_S,
    owner: Annotated[str, typer.Option(help="The vault's owner; else the sender.")] = "",
    liquidity_providers: Annotated[str, typer.Option(help="Else the owner.")] = "",
    peer_vault: Annotated[
        str, typer.Option(help="The other end, where it has another address.")
    ] = "",
    json: Json = False,
) -> None:
    """Put the contracts on a network with PRIVATE_KEY and write the deployments file."""
    plan = VaultPlan(
        signers=signers,
        threshold=threshold,
        guardians=guardians,
        limit=limit,
        minimum=minimum,
        fee_bps=fee_bps,
        delay_s=delay,
        owner=owner,
        liquidity_providers=liquidity_providers,
        peer_vault=peer_vault,
    )
    _end(commands.deploy(chain, dry_run=dry_run, vault=plan if signers else None), json=json)


@bridge.command("status")
def bridge_status(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Vaults, relayer, attestors, checker, and what is under way."""
    _end(bridge_commands.status(), json=json)


@bridge.command("pause")
def bridge_pause(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Pause both vaults with the guardian's key; exit 1 unless both are. The owner unpauses."""
    _end(bridge_commands.pause(), json=json)


@bridge.command("cancel")
def bridge_cancel(
    message_id: Annotated[str, typer.Argument(help="The transfer's `messageId`.")],
    *,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Print the call for another guardian; send nothing.")
    ] = False,
    ray_address: RayAddress = "",
    json: Json = False,
) -> None:
    """End a queued transfer with the guardian's key, so that it is refunded at its source."""
    _end(bridge_commands.cancel(message_id, unsigned=unsigned), json=json)


@bridge.command("signers")
def bridge_signers(*, ray_address: RayAddress = "", json: Json = False) -> None:
    """Who may sign at each vault, and which of our attestors that is."""
    _end(bridge_commands.signers(), json=json)


def main() -> None:
    """Entry point: a failure that has a sentence shows that sentence, and exits with 1."""
    try:
        app()
    except (StartError, RiseCurveError) as error:
        sentence = error.message if isinstance(error, StartError) else str(error)
        typer.echo(f"risecurve: {sentence}", err=True)
        sys.exit(1)


def _end(outcome: "commands.Outcome", *, json: bool) -> None:
    if json and outcome.data is not None:
        sys.stdout.write(orjson.dumps(outcome.data).decode() + "\n")
        sys.stdout.flush()
    elif outcome.text:
        typer.echo(outcome.text)
    if not outcome.ok:
        raise typer.Exit(1)
