"""Pool trades of the contract against the twin: no wei of difference, the same error.

The library on any reserves with bounds, and the launchpad's own view on real pairs whose
reserves are set, in both token orders and with fees of the pool.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_hash.auto import keccak

from chain import abi
from curves import pool_trade, uniswap_v2
from curves.curve import AMOUNT_MAX
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool
from tests.support import pool_cases
from tests.support.evm import Chain, named
from tests.support.mirror import launch
from tests.support.pool_cases import PoolCase, cases, twin
from tests.support.pool_mirror import PoolMirror, buy_out
from tests.support.stage import Stage
from tests.support.trade_cases import BUY_EXACT_OUT, SELL_EXACT_OUT, WORD_MAX, Outcome

SEED = 20_251_124
BATCH = 500
WORDS_AN_OUTCOME = 11
FEES = "(uint16,uint16,uint16,uint16,uint16,uint16)"
RUN = keccak(f"runPool((uint8,{FEES},{','.join(['uint256'] * 5)})[])".encode())[:4]
QUOTE = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool)"
RESERVES_SLOT = 8
ERRORS = {
    keccak(f"{entry['name']}({','.join(part['type'] for part in entry['inputs'])})".encode())[
        :4
    ]: entry["name"]
    for entry in abi.load("Launchpad")["abi"]
    if entry["type"] == "error"
}


@pytest.fixture(scope="module")
def corpus() -> list[PoolCase]:
    return list(cases(random.Random(SEED), states=300, per_state=24))


@pytest.fixture(scope="module")
def answers(
    corpus: list[PoolCase], chain: Chain, harness: dict[str, dict[str, Any]]
) -> list[Outcome]:
    """The contract's, in the order of the corpus."""
    artifact = harness["TradeHarness"]
    address = chain.create(artifact, b"", sender=chain.account("deployer"))
    found: list[Outcome] = []
    for start in range(0, len(corpus), BATCH):
        batch = corpus[start : start + BATCH]
        words = [32, len(batch), *(word for case in batch for word in _words(case))]
        answer = chain.call(address, RUN + b"".join(word.to_bytes(32, "big") for word in words))
        assert len(answer) == 64 + 32 * WORDS_AN_OUTCOME * len(batch)
        for at in range(64, len(answer), 32 * WORDS_AN_OUTCOME):
            found.append(_outcome(answer[at : at + 32 * WORDS_AN_OUTCOME]))
    return found


def test_pool_generated_trades_equal_the_twin(
    corpus: list[PoolCase],
    answers: list[Outcome],
    record_property: Callable[[str, object], None],
) -> None:
    assert len(corpus) >= 7_000
    differing = [
        (case, answer, twin(case))
        for case, answer in zip(corpus, answers, strict=True)
        if answer != twin(case)
    ]
    record_property("trials", len(corpus))
    record_property("mismatches", len(differing))
    assert not differing, f"{len(differing)} differ; first: {differing[0]}"


def test_pool_corpus_covers_every_outcome_of_every_kind(
    corpus: list[PoolCase], answers: list[Outcome]
) -> None:
    seen = Counter((case.kind, error) for case, (error, _) in zip(corpus, answers, strict=True))
    wanted = {kind: {"", "AmountTooLarge", "ZeroOutput", "SlippageExceeded"} for kind in range(4)}
    wanted[1] = wanted[1] | {"ExceedsSold"}
    wanted[3] = wanted[3] | {"ExceedsRaised"}
    for kind, errors in wanted.items():
        for error in errors:
            assert seen[kind, error] >= 15, (kind, error, seen)
    passed = [words for error, words in answers if not error]
    assert len(passed) >= 2_500
    assert sum(words[3] + words[4] > 0 for words in passed) >= 800, "fees"


def _in_ceiled(amount: int, reserve_in: int, reserve_out: int) -> int:
    return -(-reserve_in * amount * 1_000 // ((reserve_out - amount) * 997))


def _no_fee_of_the_pair(amount: int, reserve_in: int, reserve_out: int) -> int:
    return amount * reserve_out // (reserve_in + amount)


def _whole_reserve_may_leave(self: Pool, eth: int) -> int:
    return uniswap_v2._in(eth, self.reserve_token, max(self.reserve_weth, eth + 1))


def _no_bound(*_: int) -> None:
    return None


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (uniswap_v2, "_in", _in_ceiled),
        (uniswap_v2, "_out", _no_fee_of_the_pair),
        (Pool, "tokens_for_proceeds", _whole_reserve_may_leave),
        (pool_trade, "_check_reserve", _no_bound),
        (pool_trade, "_check_amount", _no_bound),
        (FeeRates, "gross", FeeRates.net),
    ],
)
def test_pool_differential_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch,
    corpus: list[PoolCase],
    answers: list[Outcome],
    owner: Any,
    name: str,
    bug: Callable[..., Any],
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(owner, name, bug)
    record_property("planted", 1)
    assert any(answer != twin(case) for case, answer in zip(corpus, answers, strict=True))
    record_property("caught", 1)


@pytest.mark.parametrize("token_first", [True, False])
@pytest.mark.parametrize("fees", [(0, 0), (70, 30)])
def test_pool_view_on_any_reserves_equals_the_twin(
    stage: Stage,
    token_first: bool,
    fees: tuple[int, int],
    record_property: Callable[[str, object], None],
) -> None:
    market = _graduated(stage, token_first, fees)
    rng = random.Random(f"{token_first}{fees}")
    seen = Counter[str]()
    for pool in pool_cases.pools(rng, 40):
        _set_reserves(stage, market, pool, token_first=token_first)
        asked = [PoolCase(pool, market.rates, rng.randrange(4), 0)]
        for _ in range(29):
            kind = rng.randrange(4)
            amount = pool_cases.amount(pool, market.rates, kind, rng)
            asked.append(PoolCase(pool, market.rates, kind, amount))
        rows = [(market.token, c.kind < 2, c.kind % 2 == 1, c.amount, 1) for c in asked]
        for case, answer in zip(
            asked, stage.lens.call("quotes", stage.pad.address, rows), strict=True
        ):
            name, words = twin(case)
            seen[name] += 1
            if name:
                assert not answer["ok"] and named(answer["result"]).name == name, case
            else:
                assert answer["ok"] and decode([QUOTE], answer["result"])[0] == words, case
    record_property("trials", sum(seen.values()))
    assert sum(seen.values()) == 1_200 and seen[""] > 400, seen
    assert min(seen[e] for e in ("ZeroOutput", "AmountTooLarge", "ExceedsSold")) > 20, seen


def _graduated(stage: Stage, token_first: bool, fees: tuple[int, int]) -> PoolMirror:
    creator = stage.chain.account("creator")
    stage.pad.send("setFees", (100, 50, 2_000, 30, *fees), sender=stage.owner)
    after = int(stage.pad.call("eventSeq")) * 1_000
    salt = stage.salt_for(creator, token_first=token_first, after=after)
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=salt)
    buy_out(mirror, sender=creator)
    return PoolMirror.graduate(stage, mirror, sender=creator)


def _set_reserves(stage: Stage, market: PoolMirror, pool: Pool, *, token_first: bool) -> None:
    first, second = pool.reserve_token, pool.reserve_weth
    if not token_first:
        first, second = second, first
    assert max(first, second) <= AMOUNT_MAX
    packed = (first | second << 112).to_bytes(32, "big")
    slot = RESERVES_SLOT.to_bytes(32, "big")
    place = "0x" + market.pair.address.hex()
    stage.chain.rpc("anvil_setStorageAt", place, "0x" + slot.hex(), "0x" + packed.hex())
    assert market.pair.call("getReserves")[:2] == (first, second)


def _words(case: PoolCase) -> list[int]:
    unbounded = WORD_MAX if case.kind in (BUY_EXACT_OUT, SELL_EXACT_OUT) else 0
    rates = (0, 0, 0, 0, case.rates.protocol_bps, case.rates.creator_bps)
    bound = unbounded if case.bound is None else case.bound
    reserves = (case.pool.reserve_token, case.pool.reserve_weth)
    return [case.kind, *rates, *reserves, case.amount, bound, case.min_tokens]


def _outcome(raw: bytes) -> Outcome:
    error = ERRORS.get(raw[:4], "" if raw[:4] == bytes(4) else raw[:4].hex())
    words = [int.from_bytes(raw[at : at + 32], "big") for at in range(32, len(raw), 32)]
    return error, tuple(words)
