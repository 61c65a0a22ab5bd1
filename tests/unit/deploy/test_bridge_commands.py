"""What `bridge status` says where a chain's node is away; a pause needs the checker alone."""

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from deploy import bridge_commands, cli, commands
from deploy import system as system_module
from deploy.commands import Outcome
from deploy.process import StartError
from deploy.system import System
from engine.bridge.control import CancelQueued, Pause
from engine.bridge.transfers import Terms
from engine.control import Pong
from engine.errors import TransientError
from tests.support import transfers as t


class View:
    """A vault through a node that answers, or does not."""

    def __init__(self, *, there: bool) -> None:
        self._there = there

    async def terms(self, chain_id: int) -> Terms:
        if not self._there:
            raise TransientError("stale_chain", "Expected http://key@node to answer")
        return Terms(
            chain_id=chain_id,
            vault=t.VAULTS[chain_id],
            paused=True,
            limit=2 * t.ETHER,
            left=t.ETHER,
            pool=t.ETHER,
            fee_bps=10,
            minimum=t.ETHER // 100,
        )


async def shown(chain_id: int, *, there: bool) -> dict[str, Any]:
    view: Any = View(there=there)
    chain: Any = SimpleNamespace(chain_id=chain_id)
    return {"chainId": chain_id} | await bridge_commands._terms(view, chain)


async def test_chain_that_is_away_is_a_trouble_beside_what_is_known_of_the_rest() -> None:
    vaults = [await shown(t.RISE, there=True), await shown(t.SEPOLIA, there=False)]
    troubles = bridge_commands._troubles({"vaults": vaults, "roles": {"relayer": None}})
    assert troubles == [
        f"the vault on {t.RISE} is paused",
        f"the vault on {t.SEPOLIA} could not be asked: stale_chain",
        "relayer does not answer",
    ]
    lines = [bridge_commands._vault_line(one) for one in vaults]
    assert "deposits from 0.01," in lines[0]
    assert "PAUSED" in lines[0] and lines[1] == troubles[1]


async def test_vault_that_must_be_deployed_anew_is_said_to_be() -> None:
    async def terms(chain_id: int) -> Terms:
        raise TransientError("bridge_unavailable", "it is older: deploy it anew")

    view: Any = SimpleNamespace(terms=terms)
    chain: Any = SimpleNamespace(chain_id=t.RISE)
    vault = {"chainId": t.RISE} | await bridge_commands._terms(view, chain)
    (trouble,) = bridge_commands._troubles({"vaults": [vault], "roles": {}})
    assert trouble.endswith("could not be asked: it is older: deploy it anew")


def test_attestor_that_signs_nothing_is_a_trouble_that_is_said_once() -> None:
    roles: Any = {
        "attestor-0": {"halted": None, "stopped": "trouble", "disagreement": None},
        "attestor-1": {"halted": "a block is gone", "stopped": "halted", "disagreement": None},
        "attestor-2": {"halted": None, "stopped": "", "disagreement": None},
    }
    assert bridge_commands._troubles({"vaults": [], "roles": roles}) == [
        "attestor-0 stopped: trouble",
        "attestor-1 halted: a block is gone",
    ]


def test_cancel_on_the_command_line_names_a_message_and_who_sends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, bool]] = []

    def cancel(message_id: str, *, unsigned: bool) -> Outcome:
        asked.append((message_id, unsigned))
        return Outcome(data={"cancelled": not unsigned}, text="done")

    monkeypatch.setattr(bridge_commands, "cancel", cancel)
    for words in (["0x12"], ["0x34", "--unsigned"]):
        cli.app(["bridge", "cancel", *words, "--json"], standalone_mode=False)
    assert asked == [("0x12", False), ("0x34", True)]
    assert capsys.readouterr().out == '{"cancelled":true}\n{"cancelled":false}\n'


class Cluster:
    """The supervisor hangs: it is listed, and answers nobody. `checkers` are in the order found."""

    def __init__(self, *checkers: Pong) -> None:
        self.checkers = list(checkers)
        self.looks_before = 0
        self.asked: list[tuple[str, Any]] = []

    async def names(self) -> list[str]:
        return ["risecurve/supervisor/0", *(one.name for one in self.checkers)]

    async def pongs(self) -> list[Pong]:
        self.looks_before -= 1
        others = [Pong("relayer", "relayer", "risecurve/relayer/0", 7)]
        return others if self.looks_before >= 0 else [*others, *self.checkers]

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        assert name == "risecurve/bridge-checker/1", f"Expected nobody else to be asked, was {name}"
        self.asked.append((name, message))
        return {t.RISE: True, t.SEPOLIA: True} if isinstance(message, Pause) else t.RISE


def checker(number: int = 1, *, started: bool = True) -> Pong:
    name = f"risecurve/bridge-checker/{number}"
    return Pong("bridge-checker", "bridge_checker", name, number, started=started)


Given = Callable[[Cluster], None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Commands find this cluster, and a bridge there."""
    monkeypatch.setattr(system_module, "ATTACH_POLL_S", 0.001)
    monkeypatch.setattr(bridge_commands.bridge_slots, "absence", lambda _: "")
    actors = SimpleNamespace(ray_namespace="x", ray_address="")
    settings: Any = SimpleNamespace(actors=actors)

    def runs(cluster: Cluster) -> None:
        @contextlib.contextmanager
        def attached(*_: object) -> Iterator[Any]:
            system = System(settings)
            monkeypatch.setattr(system, "cluster", cluster)
            yield SimpleNamespace(settings=settings, system=system)

        monkeypatch.setattr(commands.session, "attached", attached)

    monkeypatch.setattr(commands, "load_settings", lambda: SimpleNamespace(ray_address=""))
    monkeypatch.setattr(commands, "_data_dir", lambda _: None)
    monkeypatch.setattr(commands.runfile, "read", lambda _: None)
    monkeypatch.setattr(commands.ray_environment, "prepare", lambda _: None)
    return runs


def test_pause_and_cancel_ask_the_checker_though_the_supervisor_hangs(given: Given) -> None:
    cluster = Cluster(checker(2, started=False), checker())
    given(cluster)
    paused = bridge_commands.pause()
    assert paused.ok and paused.data is not None
    assert [one["paused"] for one in paused.data["chains"]] == [True, True]
    cancelled = bridge_commands.cancel("0x" + "ab" * 32, unsigned=False)
    assert cancelled.ok
    assert [type(message) for _, message in cluster.asked] == [Pause, CancelQueued]


def test_checker_that_is_being_started_again_is_waited_for(given: Given) -> None:
    cluster = Cluster(checker())
    cluster.looks_before = 3
    given(cluster)
    assert bridge_commands.pause().ok


def test_pause_where_no_checker_answers_says_so(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(Cluster(checker(started=False)))
    monkeypatch.setattr(system_module, "ANSWERING_TIMEOUT_S", 0.01)
    with pytest.raises(StartError, match="No bridge checker answers"):
        bridge_commands.pause()
