"""What `bridge status` says where a chain's node is away."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy import bridge_commands, cli
from deploy.commands import Outcome
from engine.bridge.transfers import Terms
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
