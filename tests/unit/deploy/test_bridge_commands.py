"""What `bridge status` says where a chain's node is away."""

from types import SimpleNamespace
from typing import Any

from deploy import bridge_commands
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
    assert "PAUSED" in lines[0] and lines[1] == troubles[1]
