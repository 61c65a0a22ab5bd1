"""Referral and points over the real application and MongoDB, with deeds counted by the book."""

import asyncio
import json
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from engine.points import merkle, rules
from engine.points.book import Book
from engine.points.entries import Deed
from gateway import replies
from gateway.replies import Cursored, Reply
from storage.points import Counted, PointsStore
from tests.support.deeds import TOKENS
from tests.support.gateway import Door, headers_of, siwe_message
from tests.support.lobby import Clock, lobby
from tests.support.scenario import CHAIN_ID

ETH = 10**18
ANN, BEN, CAT = (Account.create() for _ in range(3))
DAY = 86_400


@pytest.fixture
def door(people_door: Door) -> Door:
    return people_door


def raw(account: LocalAccount) -> bytes:
    return bytes.fromhex(account.address[2:])


def shaped(model: Any, answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status == 200, body
    Reply[model].model_validate(body)
    return body["data"]


async def join(door: Door, account: LocalAccount, clock: Clock | None = None) -> dict[str, str]:
    headers = headers_of(await door.session_of(account))
    if clock is not None:
        clock.now += 1
    return headers


async def code_of(door: Door, headers: dict[str, str], code: str | None = None) -> tuple[int, Any]:
    body = {} if code is None else {"code": code}
    return await door.post("/api/referral/code", body, headers=headers)


async def bind(door: Door, headers: dict[str, str], code: str) -> tuple[int, Any]:
    return await door.post("/api/referral/bind", {"code": code}, headers=headers)


async def test_code_is_chosen_or_made_once_and_never_anothers(door: Door) -> None:
    ann, ben = await join(door, ANN), await join(door, BEN)
    wanted = await asyncio.gather(*(code_of(door, who, "Moon1") for who in (ann, ben) * 5))
    assert sorted({status for status, _ in wanted}) == [200, 409]
    winner, loser = (ANN, ben) if wanted[0][0] == 200 else (BEN, ann)
    status, answer = await code_of(door, loser, "moon1")
    assert (status, answer["error"]["code"]) == (409, "code_taken")
    made = shaped(replies.CodeData, await code_of(door, loser))["code"]
    assert len(made) == 8 and made.isalnum()
    assert shaped(replies.CodeData, await code_of(door, loser, "other"))["code"] == made
    owner = shaped(replies.CodeOwnerData, await door.get("/api/referral/MOON1"))
    assert (owner["owner"], owner["code"]) == (winner.address, "moon1")
    assert (await door.get("/api/referral/nobody"))[0] == 404
    for bad in ("ab", "a" * 21, "a b", "tree", "$ne", "é" * 4):
        assert (await code_of(door, ann, bad))[0] == 400, bad


async def test_referrer_is_said_once_and_joined_before(mongodb_url: str, redis_url: str) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock) as door:
        ann = await join(door, ANN, clock)
        ben = await join(door, BEN, clock)
        cat = await join(door, CAT, clock)
        for name, headers in (("ann", ann), ("ben", ben), ("cat", cat)):
            await code_of(door, headers, name)
        assert (await bind(door, ann, "ann"))[1]["error"]["code"] == "referral_refused"
        assert (await bind(door, ann, "ben"))[1]["error"]["code"] == "referral_refused"
        assert (await bind(door, cat, "nobody"))[0] == 404
        answers = await asyncio.gather(*(bind(door, cat, n) for n in ("ann", "ben") * 10))
        assert sorted({status for status, _ in answers}) == [200, 409]
        assert len({a["data"]["referrer"] for s, a in answers if s == 200}) == 1
        first = "ann" if answers[0][0] == 200 else "ben"
        assert (await bind(door, cat, first))[0] == 200, "the same again"
        clock.now += 7 * DAY + 60
        ben = await join(door, BEN)
        assert (await bind(door, ben, "ann"))[1]["error"]["code"] == "referral_refused"


async def test_two_that_name_each_other_at_once_make_no_circle(door: Door) -> None:
    ann, ben = await join(door, ANN), await join(door, BEN)
    await code_of(door, ann, "ann")
    await code_of(door, ben, "ben")
    answers = await asyncio.gather(*(bind(door, *one) for one in ((ann, "ben"), (ben, "ann")) * 10))
    bound = {(a["data"]["referrer"]) for s, a in answers if s == 200}
    assert len(bound) == 1


async def test_first_login_takes_a_code_and_a_bad_one_keeps_nobody_out(
    mongodb_url: str, redis_url: str
) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock) as door:
        await code_of(door, await join(door, ANN, clock), "ann")
        for account, code, wanted in (
            (BEN, "Ann", {"referrer": ANN.address, "refused": None}),
            (CAT, "nobody", {"referrer": None, "refused": "not_found"}),
        ):
            _, nonce = await door.post("/api/auth/nonce")
            message = siwe_message(account, nonce["data"]["nonce"])
            _, body = await door.connect(account, message, referralCode=code)
            data = shaped(replies.ConnectData, (200, body))
            assert data["referral"] == wanted


# ------------------------------------------------------------------------ points


async def counted(door: Door, clock: Clock, *, days: int = 0) -> PointsStore:
    """Ann trades two days running, brought by Ben, who was brought by Cat; cat creates."""
    database = door.people._users.database
    store = PointsStore(database, CHAIN_ID)
    await store.prepare()
    await store.claim()
    start = int(clock.now)
    made = [
        Deed(f"1:{n:064x}:0", "trade", start + n * DAY, n, raw(ANN), TOKENS[0], ETH, ETH // 100)
        for n in range(2)
    ]
    made.append(Deed("1:aa:1", "create", start + DAY + 1, 2, raw(CAT), TOKENS[1]))
    now = start + DAY + 5_000
    known = await store.known(wallets=[raw(ANN), raw(CAT)], places=[], tags=[], now=now)
    book = Book(rules.ours(), known)
    book.write(made, now=now)
    before = await store.counted()
    assert await store.commit(book, known, before=before, after=Counted(2, now))
    clock.now = now
    return store


async def three(door: Door, clock: Clock) -> list[dict[str, str]]:
    cat = await join(door, CAT, clock)
    await code_of(door, cat, "cat")
    ben = await join(door, BEN, clock)
    await code_of(door, ben, "ben")
    await bind(door, ben, "cat")
    ann = await join(door, ANN, clock)
    await bind(door, ann, "ben")
    return [ann, ben, cat]


async def test_referral_shows_code_referrer_and_what_is_owed(
    mongodb_url: str, redis_url: str
) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=9 * DAY) as door:
        ann, ben, cat = await three(door, clock)
        empty = shaped(replies.ReferralData, await door.get("/api/referral", headers=ann))
        assert (empty["code"], empty["referrer"]) == (None, BEN.address)
        await counted(door, clock)
        ben, cat = [await join(door, one) for one in (BEN, CAT)]
        data = shaped(replies.ReferralData, await door.get("/api/referral", headers=ben))
        assert data["owed"] == {"eth": "0.004", "entries": 2}
        assert (data["code"], data["referees"]) == ("ben", {"level1": 1, "level2": 0})
        data = shaped(replies.ReferralData, await door.get("/api/referral", headers=cat))
        assert data["owed"] == {"eth": "0.001", "entries": 2}
        assert data["referees"] == {"level1": 1, "level2": 1}
        tree = await door.get("/api/referral/tree", headers=ben)
        (row,) = shaped(Cursored[replies.RefereeData], tree)["items"]
        assert (row["address"], row["volume"], row["shared"]) == (ANN.address, "2", "0.005")
        seen, cursor = [], ""
        while cursor is not None:
            path = f"/api/referral/earnings?limit=1{cursor}"
            page = shaped(Cursored[replies.EarningData], await door.get(path, headers=ben))
            seen += [(one["txHash"], one["eth"]) for one in page["items"]]
            cursor = f"&cursor={page['cursor']}" if page["cursor"] else None
        assert seen == [(f"0x{n:064x}", "0.002") for n in (1, 0)]
        for bad in ("x", "1~x", "~", "9" * 20 + "~fee:1"):
            path = f"/api/referral/earnings?cursor={bad}"
            assert (await door.get(path, headers=ben))[0] == 400


async def test_points_of_counted_deeds_are_shown(mongodb_url: str, redis_url: str) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=9 * DAY) as door:
        await three(door, clock)
        await counted(door, clock)
        ann = shaped(replies.PointsData, await door.get(f"/api/points/{ANN.address}"))
        assert ann["points"] == "2020" and ann["byRule"] == {"trade": "2000", "streak": "20"}
        assert (ann["rank"], ann["entries"], ann["streakDays"]) == (1, 3, 2)
        none = shaped(replies.PointsData, await door.get(f"/api/points/0x{'01' * 20}"))
        assert (none["points"], none["rank"], none["allocation"]) == ("0", None, "0")
        board = shaped(replies.LeaderboardData, await door.get("/api/points/leaderboard"))
        got = [(one["rank"], one["address"], one["points"]) for one in board["items"]]
        assert got == [(1, ANN.address, "2020"), (2, BEN.address, "202"), (3, CAT.address, "151")]
        pool = rules.ours().seasons[0].pool
        total = sum(int(one["allocation"]) for one in board["items"])
        assert pool - 3 <= total <= pool
        rows, cursor = [], ""
        while cursor is not None:
            path = f"/api/points/ledger?address={ANN.address}&limit=2{cursor}"
            page = shaped(Cursored[replies.LedgerRowData], await door.get(path))
            rows += page["items"]
            cursor = f"&cursor={page['cursor']}" if page["cursor"] else None
        assert [one["n"] for one in rows] == [3, 2, 1]
        assert (await door.get("/api/points/leaderboard?season=nine"))[0] == 404


async def test_ledger_of_more_than_a_million_rows_is_paged_to_its_end(
    mongodb_url: str, redis_url: str
) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=9 * DAY) as door:
        await three(door, clock)
        await counted(door, clock)
        rows = door.people._users.database["points_ledger"]
        async for row in rows.find({"who": "0x" + raw(ANN).hex()}).sort("n", -1):
            await rows.update_one({"_id": row["_id"]}, {"$inc": {"n": 1_000_000}})
        seen, cursor = [], ""
        while len(seen) < 3:
            path = f"/api/points/ledger?address={ANN.address}&limit=1{cursor}"
            page = shaped(Cursored[replies.LedgerRowData], await door.get(path))
            seen += [one["n"] for one in page["items"]]
            cursor = f"&cursor={page['cursor']}"
        assert seen == [1_000_003, 1_000_002, 1_000_001]


async def test_anybody_can_recompute_the_hash_of_a_wallets_rows(
    mongodb_url: str, redis_url: str
) -> None:
    clock = Clock()
    async with lobby(mongodb_url, redis_url, clock=clock, session_s=9 * DAY) as door:
        await three(door, clock)
        await counted(door, clock)
        season, day = rules.ours().seasons[0].id, int(clock.now) // DAY + 1
        assert (await door.get(f"/api/points/proof/{ANN.address}"))[0] == 404
        await door.point_days.close(season, day)
        (root,) = shaped(replies.RootsData, await door.get("/api/points/roots"))["items"]
        for account in (ANN, BEN, CAT):
            path = f"/api/points/ledger?address={account.address}"
            rows = (await door.get(path))[1]["data"]["items"][::-1]
            chain = bytes(32)
            for row in rows:
                fields = {name: row[name] for name in row if name not in ("n", "chain", "points")}
                text = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
                chain = keccak(chain + keccak(text))
            path = f"/api/points/proof/{account.address}"
            found = shaped(replies.ProofData, await door.get(path))
            micro = sum(row["micro"] for row in rows)
            assert found["leaf"] == [account.address, str(micro), "0x" + chain.hex()]
            leaf = keccak(keccak(encode(found["leafTypes"], [account.address, micro, chain])))
            proof = [bytes.fromhex(one[2:]) for one in found["proof"]]
            assert found["root"] == root["root"]
            assert merkle.holds(bytes.fromhex(root["root"][2:]), leaf, proof)


async def test_rules_are_shown_as_data(door: Door) -> None:
    data = shaped(replies.RulesData, await door.get("/api/points/rules"))
    assert data["versions"][0]["feeShareBps"] == [2000, 500]
    assert data["versions"][0]["feeCapWei"] == str(10 * ETH)
