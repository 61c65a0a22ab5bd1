"""The stock npm client, with default transports, against the real application."""

import asyncio
import json
from pathlib import Path

from engine import text
from tests.support.gateway import Door

SCRIPT = Path(__file__).parents[2] / "support" / "socketio_client.mjs"


async def test_stock_client_connects_quotes_subscribes_and_receives(door: Door) -> None:
    token = text.address(door.tokens[0])
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        door.url,
        token,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = await asyncio.wait_for(process.stderr.readline(), 30)
    assert line.decode().strip() == "subscribed", line
    door.ticks.publish(topic=text.topic_of_token(door.tokens[0]), seq=7, data={"price": "1.5"})
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    told = json.loads(output)
    assert (told["first"], told["last"]) == ("polling", "websocket")
    assert told["quote"]["success"] is True
    assert told["quote"]["data"]["amountIn"] == "0.01"
    assert told["refused"]["error"]["code"] == "invalid_amount"
    assert told["subscribed"]["data"]["snapshot"]["tokenAddress"] == token
    assert told["price"] == {
        "topic": text.topic_of_token(door.tokens[0]),
        "seq": 7,
        "fromSeq": 7,
        "toSeq": 7,
        "generation": "g",
        "data": {"price": "1.5"},
    }
    assert told["unsubscribed"]["success"] is True
