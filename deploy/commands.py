"""What each command of the command line does; `cli.py` has their options."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop
from rich.console import Console

from chain.deployer import deploy as deploy_contracts
from chain.rpc import JsonRpc
from deploy import (
    chain_state,
    cluster,
    datadir,
    platform,
    ray_environment,
    registry,
    runfile,
    session,
    signals,
    vital,
)
from deploy import devnet as local_chains
from deploy import status as status_tables
from deploy.embedded import Embedded
from deploy.environment import Environment
from deploy.platform import Platform
from deploy.process import StartError
from deploy.settings import load_settings, rise_urls, sepolia_urls
from deploy.vault_plan import VaultPlan
from engine.control import Scale
from engine.errors import TransientError

_STDERR = Console(stderr=True, highlight=False)
_STARTED = time.monotonic()
END_MARGIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`data` is what `--json` prints, `text` what a human reads; not ok exits with 1."""

    ok: bool = True
    data: dict[str, Any] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Options of `demo`. `trades` None: until Ctrl-C."""

    trades: int | None
    tokens: int
    traders: int
    seed: int
    keep: bool
    view: bool
    graduate: bool = False
    transfers: int | None = None
    """Of the scenario of the bridge; None: the scenario of trades."""


def up(*, json: bool) -> Outcome:
    """Serve until SIGINT or SIGTERM, then drain. On a cluster the system stays."""
    environment = load_settings()
    if environment.ray_address:
        return _up_on_cluster(environment)
    with (
        signals.interruptible(say),
        platform.opened(environment, _data_dir(environment), say) as carrier,
    ):

        async def serve(run: session.Session, interrupted: asyncio.Event) -> Outcome:
            runfile.write(carrier.data_dir, run.file)
            say(f"ready: {run.file.api_url}")
            await vital.beside(interrupted.wait(), chain_state.keep_copies(carrier.chain_folders))
            say("draining")
            return Outcome(data={"drained": True})

        return _in_session(carrier, serve)


def demo(plan: DemoPlan) -> Outcome:
    """Bring up, trade, judge."""
    environment = load_settings()
    if environment.ray_address:
        raise StartError("The demo has a Ray of its own; unset RAY_ADDRESS.")
    with signals.interruptible(say), _demo_folder(environment, plan) as folder:
        # Beside the trades only where somebody asked for it: seven processes more.
        asked = environment.bridge and "bridge" in environment.model_fields_set
        bridge = plan.transfers is not None or asked
        raised = environment.model_copy(update=UNLIMITED | {"bridge": bridge})
        with platform.opened(raised, folder, say) as carrier:
            if not carrier.local_chain:
                raise StartError("The demo trades on a local chain; unset RISE_CHAIN_RPC.")

            async def trade(run: session.Session, interrupted: asyncio.Event) -> Outcome:
                runfile.write(carrier.data_dir, run.file)
                if plan.transfers is not None:
                    from deploy.demo import transfers  # noqa: PLC0415 (the demo alone)

                    return Outcome(*await transfers.run(run, plan.transfers, plan.seed, say=say))
                from deploy.demo import session as trading  # noqa: PLC0415 (the demo alone)

                data, ok = await trading.run(run, plan, say=say, interrupted=interrupted)
                return Outcome(ok=ok, data=data, text=trading.sentence(data, ok=ok))

            return _in_session(carrier, trade)


def down() -> Outcome:
    """Ask who runs, or is starting, to end, and wait for it."""
    environment = load_settings()
    if environment.ray_address:
        return _down_on_cluster(environment)
    data_dir = _data_dir(environment)
    holder = datadir.holder(data_dir)
    process = holder.process
    if not holder.is_ending:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + environment.drain_timeout_s + END_MARGIN_S
    while process.alive:
        if time.monotonic() > deadline:
            raise StartError(f"Process {process.pid} did not end; it may be stopped.")
        time.sleep(0.1)
    return Outcome(data={"ended": process.pid}, text=f"Process {process.pid} has ended.")


def drain() -> Outcome:
    """Drain the running system; its process stays."""

    async def work(run: session.Session) -> Outcome:
        await run.system.drain()
        return Outcome(data={"drained": True}, text="Drained.")

    return attached(work)


def status() -> Outcome:
    """The supervisor's view, and each role's counters."""

    async def work(run: session.Session) -> Outcome:
        data = await run.system.status()
        data["roles"] = await run.system.role_status()
        return Outcome(data=data, text=status_tables.text(data))

    return attached(work)


def scale(change: Scale) -> Outcome:
    """So many shards and doors from now on; with no number, how many are wanted."""

    async def work(run: session.Session) -> Outcome:
        began = time.monotonic()
        wanted = asdict(await run.system.scale(change, say))
        seconds = round(time.monotonic() - began, 2)
        text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in wanted.items())
        return Outcome(data={**wanted, "seconds": seconds}, text=f"{text}; all serve.")

    return attached(work)


def verify() -> Outcome:
    """Memory against the contract at one block."""

    async def work(run: session.Session) -> Outcome:
        verdict = await run.verify()
        data = {
            "block": verdict.block,
            "markets": verdict.markets,
            "mismatches": verdict.mismatches,
            "details": verdict.details,
        }
        text = f"{verdict.markets} markets at block {verdict.block}: {verdict.mismatches} differ."
        return Outcome(ok=verdict.mismatches == 0, data=data, text=text)

    return attached(work)


def replay(*, from_zero: bool) -> Outcome:
    """All state and history rebuilt from the chain, held against what runs."""
    if not from_zero:
        raise StartError("Say `risecurve replay --from-zero`: it reads the whole chain again.")

    async def work(run: session.Session) -> Outcome:
        done = await run.replay(say)
        data = {
            "block": done.block,
            "markets": done.markets,
            "events": done.events,
            "rows": done.rows,
            "different": len(done.different),
            "details": done.different[:20],
        }
        text = (
            f"Block {done.block}: {done.events} events of the chain make {done.markets} markets"
            f" and {done.rows} rows; {len(done.different)} differences."
        )
        return Outcome(
            ok=not done.different, data=data, text="\n".join([text, *done.different[:20]])
        )

    return attached(work)


def migrate() -> Outcome:
    """Apply migrations to DATABASE_URL, or to the running system's database."""
    environment = load_settings()
    url = environment.database_url or runfile.read(_data_dir(environment)).database_url
    applied = asyncio.run(platform.migrate(url))
    return Outcome(data={"applied": applied}, text=f"Applied: {', '.join(applied) or 'nothing'}.")


def openapi() -> Outcome:
    """The OpenAPI document, without any server."""
    from gateway import openapi as written  # noqa: PLC0415 (no other command needs the doors)

    return _printed(written.document())


def asyncapi() -> Outcome:
    """The AsyncAPI document, without any server."""
    from gateway import asyncapi as written  # noqa: PLC0415 (no other command needs the doors)

    return _printed(written.document())


def _printed(document: dict[str, Any]) -> Outcome:
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    return Outcome(data=document, text=text)


def bench(words: Sequence[str]) -> int:
    """The exit code of `python -m bench`, which stands in the clone beside us."""
    root = datadir.clone_root()
    if not (root / "bench" / "__main__.py").is_file():
        raise StartError("The benches are in the clone, not in an installed package.")
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=root, check=False).returncode  # noqa: S603


def devnet(*, reset: bool, json: bool) -> Outcome:
    """The two local chains alone."""
    environment = load_settings()
    data_dir = _data_dir(environment)
    if reset:
        datadir.reset(data_dir)
        return Outcome(data={"reset": str(data_dir)}, text=f"{data_dir} is empty.")
    with (
        signals.interruptible(say),
        datadir.held(data_dir),
        Embedded(data_dir, say=say) as embedded,
    ):
        chains = local_chains.start(environment, embedded, say)
        for chain in (chains.rise, chains.sepolia):
            if chain is not None and chain.local:
                entry = asyncio.run(
                    local_chains.registry_of(
                        chain, environment=environment, data_dir=data_dir, say=say
                    )
                )
                say(f"chain {entry.chain_id}: {chain.rpc_url} {chain.ws_url}")
                say(f"  registry {registry.path(data_dir, entry.chain_id)}")
        try:
            copies = chain_state.keep_copies(embedded.chain_folders)
            asyncio.run(
                vital.beside(
                    signals.until_signalled(), vital.Vital(embedded.servers).watch(), copies
                )
            )
        finally:
            signals.end_undisturbed()
    return Outcome(data={"ended": True})


def deploy(chain: str, *, dry_run: bool, vault: VaultPlan | None = None) -> Outcome:
    """Contracts on a network, with PRIVATE_KEY; writes DEPLOYMENTS_FILE or the clone's.

    A vault that stands in the file stays there unless another is planned.
    """
    environment = load_settings()
    urls = {"rise": rise_urls, "sepolia": sepolia_urls}
    ids = {"rise": environment.rise_chain_id, "sepolia": environment.sepolia_chain_id}
    if chain not in urls:
        raise StartError(f"Expected --chain rise or sepolia, was {chain}.")
    rpc_url, _ = urls[chain](environment)
    if not rpc_url or not environment.private_key:
        raise StartError(f"Set PRIVATE_KEY and {chain.upper()}'s RPC URL to deploy.")
    given = environment.deployments_file
    file = Path(given) if given else registry.path(datadir.clone_root(), ids[chain])
    if vault is not None:
        production = environment.app_env == "production"
        vault.config(environment.private_key, production=production)  # before anything is sent
    work = _deploy(environment, rpc_url, ids[chain], file=file, dry_run=dry_run, vault=vault)
    document = asyncio.run(work)
    if dry_run:
        return Outcome(data=document, text="Nothing was sent.")
    registry.write(file, document)
    return Outcome(data=document, text=f"Wrote {file}.")


def say(line: str) -> None:
    """A line of progress on standard error."""
    _STDERR.print(f"[dim]{time.monotonic() - _STARTED:6.1f} s[/dim]  {line}")


async def _deploy(
    environment: Environment,
    rpc_url: str,
    chain_id: int,
    *,
    file: Path,
    dry_run: bool,
    vault: VaultPlan | None,
) -> dict[str, Any]:
    rpc = JsonRpc(rpc_url, timeout_s=30.0)
    try:
        document = await deploy_contracts(
            rpc,
            chain_id=chain_id,
            private_key=environment.private_key,
            older=registry.older(file),
            vault=registry.vault(file),
            dry_run=dry_run,
            progress=say,
        )
        if vault is not None:
            ids = {environment.rise_chain_id, environment.sepolia_chain_id}
            document["vault"] = await vault.carry_out(
                rpc,
                chain_id=chain_id,
                peer_chain_id=(ids - {chain_id}).pop(),
                private_key=environment.private_key,
                production=environment.app_env == "production",
                dry_run=dry_run,
                say=say,
            )
        return document
    finally:
        await rpc.close()


UNLIMITED = dict.fromkeys(
    (
        *("writes_per_window", "reads_per_minute", "user_writes_per_window"),
        *("user_reads_per_minute", "socket_quotes_per_minute", "socket_messages_per_s"),
        *("socket_bytes_per_s", "connects_per_s", "connects_per_s_all"),
    ),
    10**6,
)
"""The demo's traders all come from one address."""

Work = Callable[[session.Session, asyncio.Event], Coroutine[Any, Any, Outcome]]
Question = Callable[[session.Session], Awaitable[Outcome]]


def _in_session(carrier: Platform, work: Work) -> Outcome:
    ray_environment.prepare(carrier.data_dir)
    # Ray prints what its nodes complain of to standard output, which is for results.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            with session.local(carrier, say) as run:
                return _run(run, work, carrier)
        finally:
            signals.end_undisturbed()


def _run(run: session.Session, work: Work, carrier: Platform) -> Outcome:
    needed = vital.of_local_ray(carrier.servers)
    try:
        outcome: Outcome = uvloop.run(_started(run, work, needed))
        return outcome
    finally:
        signals.end_undisturbed()
        datadir.ends(carrier.data_dir)  # Ray's library makes a SIGTERM deadly while it ends
        runfile.remove(carrier.data_dir)


async def _started(run: session.Session, work: Work, needed: vital.Vital) -> Outcome:
    # Ray puts a SIGTERM handler of its own that aborts; ours goes over it.
    interrupted = signals.signalled()
    await vital.beside(_start(run, interrupted), needed.watch())
    try:
        return await vital.beside(work(run, interrupted), needed.watch(), run.system.watch())
    finally:
        await run.system.drain()


async def _start(run: session.Session, interrupted: asyncio.Event) -> None:
    async def stop() -> None:
        await interrupted.wait()
        raise StartError("Interrupted while the roles were starting.")

    say("roles start")
    await vital.beside(run.system.start(), stop())


def _up_on_cluster(environment: Environment) -> Outcome:
    data_dir = _data_dir(environment)
    cluster.settings_of(environment, data_dir)  # its faults first: nothing is touched by then
    with signals.interruptible(say):
        say("the database schema is brought up to date")
        asyncio.run(platform.migrate(environment.database_url))
        say(f"Ray is joined at {environment.ray_address}")
        with cluster.joined(environment, data_dir) as run:
            outcome: Outcome = uvloop.run(_until_gone(run))
            return outcome


async def _until_gone(run: session.Session) -> Outcome:
    interrupted = signals.signalled()
    await _start(run, interrupted)
    say(f"ready: {run.file.api_url} (Ctrl-C leaves it running, `risecurve down` ends it)")
    watch = asyncio.create_task(run.system.watch())
    stop = asyncio.create_task(interrupted.wait())
    await asyncio.wait({watch, stop}, return_when=asyncio.FIRST_COMPLETED)
    gone = watch.done()
    for task in (watch, stop):
        task.cancel()
    text = "It was taken down." if gone else "It goes on without this command."
    return Outcome(data={"running": not gone}, text=text)


def _down_on_cluster(environment: Environment) -> Outcome:
    async def work(run: session.Session) -> Outcome:
        with contextlib.suppress(TransientError):
            await run.system.attach(timeout_s=0.0)
        await run.system.drain()
        ended = await run.system.remove()
        if not ended:
            raise StartError(f"Nothing runs on {environment.ray_address}.")
        return Outcome(data={"ended": ended}, text=f"{ended} actors have ended.")

    with cluster.joined(environment, _data_dir(environment)) as run:
        return asyncio.run(work(run))


def attached(work: Question, *, supervised: bool = True) -> Outcome:
    """What `work` finds out of the running system; not `supervised`, whether its supervisor
    answers or not.
    """
    environment = load_settings()
    data_dir = _data_dir(environment)
    with contextlib.ExitStack() as stack:
        if environment.ray_address:
            run = stack.enter_context(cluster.joined(environment, data_dir))
        else:
            run_file = runfile.read(data_dir)
            ray_environment.prepare(data_dir)
            run = stack.enter_context(session.attached(environment, run_file, data_dir))

        async def ask() -> Outcome:
            # Else the command that it belongs to: a run file that is read is of a living one.
            if supervised:
                await run.system.attach(looked_after=not environment.ray_address)
            return await work(run)

        return asyncio.run(ask())


def _data_dir(environment: Environment) -> Path:
    return datadir.prepare(
        Path(environment.data_dir) if environment.data_dir else datadir.default_data_dir()
    )


@contextlib.contextmanager
def _demo_folder(environment: Environment, plan: DemoPlan) -> Iterator[Path]:
    if plan.keep or environment.data_dir:
        yield _data_dir(environment)
        return
    with datadir.temporary() as folder:
        yield folder
