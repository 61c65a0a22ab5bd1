"""Launchpads of version 1 and 2 side by side: one registry, one decoder, each its own lens."""

import asyncio
from typing import Any

import pytest

from chain import lens
from chain.decode import Decoder, raw_log
from chain.deployer import DEFAULT_FEES, default_curves
from chain.rpc import JsonRpc
from deploy import registry
from engine.messages import ChainEvent, Completed, PoolSynced, TokenCreated, Traded
from engine.settings import Deployment
from tests.support.chain_settings import settings
from tests.support.evm import Contract, Reverted
from tests.support.mirror import Mirror, launch
from tests.support.pool_mirror import PoolMirror, buy_out
from tests.support.servers import Anvil
from tests.support.stage import Stage, deploy_blocking, version_1

SALT = b"versions".rjust(32, b"\0")


@pytest.fixture(scope="module")
def older(stage: Stage) -> tuple[Contract, Contract]:
    """The launchpad and lens of version 1, on the same exchange."""
    return version_1(stage, curves=default_curves(), fees=DEFAULT_FEES)


def _sold_out(stage: Stage, pad: Contract, salt: int) -> Mirror:
    creator = stage.chain.account("creator")
    mirror, _ = launch(stage.chain, pad, creator=creator, salt=salt, value=10**16)
    buy_out(mirror, sender=creator)
    return mirror


def _events(stage: Stage, decoder: Decoder, first: int) -> list[ChainEvent]:
    events: list[ChainEvent] = []
    for number in range(first, stage.chain.block_number() + 1):
        query = {"fromBlock": hex(number), "toBlock": hex(number)}
        logs = [raw_log(log) for log in stage.chain.rpc("eth_getLogs", query)]
        events += decoder.decode(logs, block_time=number)
    return events


def test_one_decoder_follows_both_versions(stage: Stage, older: tuple[Contract, Contract]) -> None:
    first = stage.chain.block_number() + 1
    old, new = _sold_out(stage, older[0], 1), _sold_out(stage, stage.pad, 2)
    with pytest.raises(Reverted):
        stage.chain.call(older[0].address, stage.pad.data("graduate", old.token))
    market = PoolMirror.graduate(stage, new, sender=stage.chain.account("anybody"))
    market.trade(0, 10**17, sender=stage.chain.account("anybody"))
    stage.pair(old.token).send("sync", sender=stage.chain.account("anybody"))
    decoder = Decoder(settings(launchpads=_deployments(stage, older), weth=stage.weth.address))
    events = _events(stage, decoder, first)
    assert {
        (event.token, event.at.version) for event in events if isinstance(event, TokenCreated)
    } == {(old.token, 1), (new.token, 2)}
    for token, venues in [(old.token, [0, 0]), (new.token, [0, 0, 1])]:
        trades = [e for e in events if isinstance(e, Traded) and e.token == token]
        assert [trade.venue for trade in trades] == venues
        assert [e.token for e in events if isinstance(e, Completed)].count(token) == 1
    # A pair of version 1 never opens: what happens on it is nobody's business.
    assert {e.token for e in events if isinstance(e, PoolSynced)} == {new.token}
    assert decoder.pairs == {market.pair.address: new.token}


def test_lens_of_each_version_is_read(
    stage: Stage, anvil: Anvil, older: tuple[Contract, Contract]
) -> None:
    old, new = _sold_out(stage, older[0], 3), _sold_out(stage, stage.pad, 4)
    market = PoolMirror.graduate(stage, new, sender=stage.chain.account("anybody"))
    head = stage.chain.block_number()

    async def read(version: int, pad: Contract, place: Contract, token: bytes) -> Any:
        rpc = JsonRpc(anvil.rpc_url, timeout_s=10)
        try:
            return await lens.markets(
                rpc,
                place.address,
                launchpad=pad.address,
                tokens=[token],
                block=head,
                version=version,
            )
        finally:
            await rpc.close()

    (state,) = asyncio.run(read(1, *older, old.token))
    assert state == lens.MarketState(2, old.sold, old.raised, old.seq)
    (state,) = asyncio.run(read(2, stage.pad, stage.lens, new.token))
    reserves = (market.pool.reserve_token, market.pool.reserve_weth)
    assert state == lens.MarketState(3, new.sold, new.raised, market.seq, *reserves)


def test_deploy_keeps_an_older_launchpad_in_front(
    stage: Stage, anvil: Anvil, older: tuple[Contract, Contract]
) -> None:
    pad, place = older
    first = {
        "address": "0x" + pad.address.hex(),
        "lens": "0x" + place.address.hex(),
        "firstBlock": pad.call("firstBlock"),
        "version": 1,
    }
    gone = first | {"address": "0x" + "77" * 20}
    options: dict[str, Any] = {"private_key": anvil.keys()[0], "salt": SALT}
    entry = deploy_blocking(anvil, older=[first, gone], **options)
    assert entry["launchpads"][0] == first
    assert [one["version"] for one in entry["launchpads"]] == [1, 2]
    again = deploy_blocking(anvil, older=entry["launchpads"], **options)
    assert again == entry
    assert [one.version for one in registry.parse(entry).launchpads] == [1, 2]


def _deployments(stage: Stage, older: tuple[Contract, Contract]) -> tuple[Deployment, ...]:
    pads: list[tuple[Contract, Contract]] = [older, (stage.pad, stage.lens)]
    return tuple(
        Deployment(address=pad.address, lens=place.address, first_block=1, version=version)
        for version, (pad, place) in enumerate(pads, 1)
    )
