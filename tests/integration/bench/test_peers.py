"""The peers give the same quotes as we do, so that a ratio compares like with like."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.peers.plain_socketio import quoted
from bench.peers.python_peer import market_of
from engine.messages import Refusal
from engine.quoting import answer
from gateway import stream_protocol as protocol
from gateway import view
from gateway.models import QuoteBody
from gateway.quotes import quote_request

ROOT = Path(__file__).parents[3]
CASES = 400
WAD = 10**18


def market(dice: random.Random) -> dict[str, Any]:
    """A market somewhere on a curve, near its ends too."""
    virtual_eth, virtual_tokens = 15 * WAD // 10, 1_073_000_000 * WAD
    supply = 793_100_000 * WAD
    sold = dice.choice([0, supply - dice.randrange(1, 10**21), dice.randrange(supply)])
    raised = virtual_eth * virtual_tokens // (virtual_tokens - sold) - virtual_eth
    block = dice.randrange(100, 10**6)
    return {
        "token": "0x" + dice.randbytes(20).hex(),
        "virtualEth": str(virtual_eth),
        "virtualTokens": str(virtual_tokens),
        "curveSupply": str(supply),
        "poolSupply": str(206_900_000 * WAD),
        "sold": str(sold),
        "raised": str(raised),
        "protocolBps": dice.choice([0, 100]),
        "creatorBps": dice.choice([0, 50]),
        "launchBps": 2_000,
        "launchBlocks": 30,
        "launchBlock": block - dice.randrange(60),
        "phase": "curve",
        "asOf": {
            "blockNumber": block,
            "blockHash": "0x" + dice.randbytes(32).hex(),
            "logIndex": dice.randrange(50),
            "status": "sealed",
            "version": [3, dice.randrange(1_000)],
        },
    }


def case(dice: random.Random) -> dict[str, Any]:
    one = market(dice)
    side, mode = dice.choice(["buy", "sell"]), dice.choice(["exactIn", "exactOut"])
    in_eth = (side == "buy") == (mode == "exactIn")
    exponents = dice.randrange(0, 20 if in_eth else 28)
    amount = dice.choice([1, 10**exponents, dice.randrange(1, 10**exponents + 1), 2**112 - 1])
    rest = {"tokenAddress": one["token"], "type": side, "mode": mode, "amount": view.units(amount)}
    stream = {"token": one["token"], "side": side, "mode": mode, "amountWei": str(amount)}
    return {"market": one, "rest": rest, "stream": stream}


def ours(one: dict[str, Any]) -> dict[str, Any]:
    live, as_of = market_of(one["market"])
    request = quote_request(QuoteBody.model_validate(one["rest"]))
    ops, _ = protocol.read(json.dumps({"op": "quote"} | one["stream"]).encode())
    assert isinstance(ops[0], protocol.Quote) and ops[0].request == request
    reply = answer(live, request, as_of=as_of, bucket=1)
    if isinstance(reply, Refusal):
        return {"rest": {"code": reply.code}, "stream": {"code": reply.code}}
    stream = json.loads(protocol.quote_answer(1, reply))["data"]
    return {"rest": {"data": view.quote_data(reply)}, "stream": {"data": stream}}


def test_node_peers_give_our_quotes_to_the_wei() -> None:
    dice = random.Random(7)
    cases = [case(dice) for _ in range(CASES)]
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, "bench/peers/check.mjs"],
        cwd=ROOT,
        input="\n".join(map(json.dumps, cases)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    refused = 0
    for one, theirs in zip(cases, found, strict=True):
        expected = ours(one)
        for shown in (theirs["rest"], theirs["stream"]):
            if "data" in shown:  # the peers do not write checksums
                name = "tokenAddress" if "tokenAddress" in shown["data"] else "token"
                assert shown["data"][name] == one["market"]["token"]
                data = expected["rest" if name == "tokenAddress" else "stream"]["data"]
                shown["data"][name] = data[name]
        assert theirs == expected, one
        refused += "code" in theirs["rest"]
    assert CASES * 0.05 < refused < CASES * 0.8


def test_plain_socketio_peer_gives_our_envelope() -> None:
    one = case(random.Random(1))
    live, as_of = market_of(one["market"])
    body = {"tokenAddress": one["market"]["token"], "type": "buy", "amount": "0.001"}
    found = quoted({live.token: (live, as_of)}, body)
    request = quote_request(QuoteBody.model_validate(body))
    reply = answer(live, request, as_of=as_of, bucket=1)
    assert not isinstance(reply, Refusal)
    assert found["data"] == view.quote_data(reply) and found["success"] is True
    assert quoted({}, {"type": "buy"})["error"]["code"] == "invalid_request"
