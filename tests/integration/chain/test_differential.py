"""The contract's maths against its Python twin: no wei of difference, the same error."""

import random
from collections import Counter
from collections.abc import Callable
from math import isqrt
from typing import Any

import pytest
from eth_hash.auto import keccak

from chain import abi
from curves import trade
from curves.constant_product import ConstantProduct
from curves.fees import BPS, FeeRates, FeeSchedule
from curves.linear import D, Linear
from tests.support.evm import Chain, Contract, Reverted
from tests.support.trade_cases import (
    BUY_EXACT_OUT,
    SELL_EXACT_OUT,
    WORD_MAX,
    Case,
    Outcome,
    cases,
    twin,
    worlds,
)

SEED = 20_251_123
BATCH = 500
WORDS_A_CASE = 20
WORDS_AN_OUTCOME = 11
CONFIG = "(uint8,uint128,uint128,uint128,uint128)"
FEES = "(uint16,uint16,uint16,uint16,uint16,uint16)"
RUN = keccak(
    f"run((uint8,{CONFIG},{FEES},uint256,uint256,bool,{','.join(['uint256'] * 5)})[])".encode()
)[:4]
ERRORS = {
    keccak(f"{entry['name']}({','.join(part['type'] for part in entry['inputs'])})".encode())[
        :4
    ]: entry["name"]
    for entry in abi.load("Launchpad")["abi"]
    if entry["type"] == "error"
}


@pytest.fixture(scope="module")
def corpus() -> list[Case]:
    rng = random.Random(SEED)
    return [
        case for world in worlds(rng, 16) for case in cases(world, rng, states=40, per_state=18)
    ]


@pytest.fixture(scope="module")
def tradeable(chain: Chain, harness: dict[str, dict[str, Any]]) -> Contract:
    artifact = harness["TradeHarness"]
    address = chain.create(artifact, b"", sender=chain.account("deployer"))
    return Contract(chain, artifact, address)


@pytest.fixture(scope="module")
def answers(corpus: list[Case], tradeable: Contract) -> list[Outcome]:
    """The contract's, in the order of the corpus."""
    found: list[Outcome] = []
    for start in range(0, len(corpus), BATCH):
        batch = corpus[start : start + BATCH]
        words = [32, len(batch), *(word for case in batch for word in _words(case))]
        data = RUN + b"".join(word.to_bytes(32, "big") for word in words)
        answer = tradeable.chain.call(tradeable.address, data)
        assert len(answer) == 64 + 32 * WORDS_AN_OUTCOME * len(batch)
        for at in range(64, len(answer), 32 * WORDS_AN_OUTCOME):
            found.append(_outcome(answer[at : at + 32 * WORDS_AN_OUTCOME]))
    return found


def test_contract_generated_trades_equal_the_twin(
    corpus: list[Case],
    answers: list[Outcome],
    record_property: Callable[[str, object], None],
) -> None:
    assert len(corpus) >= 10_000
    differing = [
        (case, answer, twin(case))
        for case, answer in zip(corpus, answers, strict=True)
        if answer != twin(case)
    ]
    record_property("trials", len(corpus))
    record_property("mismatches", len(differing))
    assert not differing, f"{len(differing)} differ; first: {differing[0]}"


def test_corpus_covers_every_outcome_of_every_kind(
    corpus: list[Case], answers: list[Outcome]
) -> None:
    # A generator that had gone dull would make the test above pass for nothing.
    seen = Counter(
        (type(case.world.curve).__name__, case.kind, error)
        for case, (error, _) in zip(corpus, answers, strict=True)
    )
    wanted = {kind: {"", "AmountTooLarge", "ZeroOutput", "SlippageExceeded"} for kind in range(4)}
    wanted[2] = wanted[2] | {"ExceedsSold"}
    wanted[3] = wanted[3] | {"ExceedsRaised"}
    for family in ("ConstantProduct", "Linear"):
        for kind, errors in wanted.items():
            for error in errors:
                assert seen[family, kind, error] >= 5, (family, kind, error, seen)
    passed = [numbers for error, numbers in answers if not error]
    assert len(passed) >= 4_000
    assert sum(numbers[9] for numbers in passed) >= 200, "clipped"
    assert sum(numbers[5] > 0 for numbers in passed) >= 1_000, "launch fee"
    assert {error for error, _ in answers} <= set(ERRORS.values()) | {""}


def _floor_cost(curve: ConstantProduct, sold: int, raised: int, tokens: int) -> int:
    x, y = curve.virtual_eth + raised, curve.virtual_tokens - sold
    return x * tokens // (y - tokens)


def _tokens_from_first_k(curve: ConstantProduct, sold: int, raised: int, eth: int) -> int:
    x, y = curve.virtual_eth + raised, curve.virtual_tokens - sold
    return max(0, y + -(curve.virtual_eth * curve.virtual_tokens) // (x + eth))


def _tokens_from_raised(curve: Linear, sold: int, raised: int, eth: int) -> int:
    base = curve.start_price * 10**24
    root = isqrt(base * base + curve.step * (raised + eth) * D)
    return max(0, (root - base) // curve.step - sold)


def _area_one_short(curve: Linear, sold: int, tokens: int) -> int:
    return tokens * (curve.step * (2 * sold + tokens - 1) + 2 * curve.start_price * 10**24)


def _net_ceiled(rates: FeeRates, gross: int) -> int:
    return -(-gross * (BPS - rates.total_bps) // BPS)


def _split_creator_last(rates: FeeRates, gross: int, net: int) -> tuple[int, int, int]:
    protocol = gross * rates.protocol_bps // BPS
    launch = gross * rates.launch_bps // BPS
    return protocol, gross - net - protocol - launch, launch


def _launch_bps_one_block_late(fees: FeeSchedule, block: int) -> int:
    age = max(block - fees.launch_block - 1, 0)
    if age >= fees.launch_blocks:
        return 0
    return fees.launch_bps * (fees.launch_blocks - age) // fees.launch_blocks


def _no_amount_bound(amount: int) -> None:
    return None


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (ConstantProduct, "eth_for_tokens", _floor_cost),
        (ConstantProduct, "tokens_for_eth", _tokens_from_first_k),
        (Linear, "tokens_for_eth", _tokens_from_raised),
        (Linear, "area", _area_one_short),
        (FeeRates, "net", _net_ceiled),
        (FeeRates, "split", _split_creator_last),
        (FeeSchedule, "_launch_bps", _launch_bps_one_block_late),
        (trade, "_check_amount", _no_amount_bound),
    ],
)
def test_differential_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch,
    corpus: list[Case],
    answers: list[Outcome],
    owner: Any,
    name: str,
    bug: Callable[..., Any],
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(owner, name, bug)
    pairs = zip(corpus, answers, strict=True)
    record_property("planted", 1)
    assert any(answer != twin(case) for case, answer in pairs)
    record_property("caught", 1)


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ((0, 15 * 10**17, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23), True),
        ((1, 14 * 10**8, 3 * 10**7, 65 * 10**25, 35 * 10**25), True),
        ((0, 0, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23), False),
        ((0, 15 * 10**17, 0, 7_931 * 10**23, 2_069 * 10**23), False),
        ((0, 15 * 10**17, 7_931 * 10**23, 7_931 * 10**23, 2_069 * 10**23), False),
        ((0, 15 * 10**17, 1_073 * 10**24, 7_931 * 10**23, 2_070 * 10**23), False),
        ((0, 15 * 10**17, 1_073 * 10**24, 79_311 * 10**22, 20_689 * 10**22), True),
        ((0, 15 * 10**17, 1_073 * 10**24, 7_932 * 10**23, 2_068 * 10**23), False),
        ((0, 15 * 10**17, 1_073 * 10**24, 0, 10**27), False),
        ((0, 2**128 - 1, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23), False),
        ((0, 15 * 10**17, 1_000 * 10**24, 8 * 10**26, 2 * 10**26), True),
        ((0, 15 * 10**17, 1_000 * 10**24, 8 * 10**26 + 10, 2 * 10**26 - 10), True),
        ((1, 14 * 10**8, 3 * 10**7, 7_931 * 10**23, 2_069 * 10**23), False),
        ((0, 10**6 - 1, 1_073 * 10**24, 5 * 10**26, 5 * 10**26), False),
        ((0, 10**7, 1_073 * 10**24, 5 * 10**26, 5 * 10**26), True),
        ((0, 10**27, 2 * 10**26, 10**6 - 1, 10**27 - 10**6 + 1), False),
        ((0, 10**27, 2 * 10**26, 10**7, 10**27 - 10**7), True),
        ((1, 2**128 - 1, 3 * 10**7, 65 * 10**25, 35 * 10**25), False),
        ((1, 14 * 10**8, 2**128 - 1, 65 * 10**25, 35 * 10**25), False),
        ((1, 0, 3 * 10**7, 65 * 10**25, 35 * 10**25), False),
        ((1, 14 * 10**8, 0, 65 * 10**25, 35 * 10**25), False),
        ((1, 14 * 10**8, 3 * 10**7, 2**128 - 1, 2**128 - 1), False),
    ],
)
def test_curve_check_configuration_is_judged(
    tradeable: Contract, config: tuple[int, ...], good: bool
) -> None:
    assert _covers(config) == good
    if good:
        tradeable.chain.call(tradeable.address, tradeable.data("check", config))
        return
    with pytest.raises(Reverted, match="InvalidCurve"):
        tradeable.chain.call(tradeable.address, tradeable.data("check", config))


def _covers(config: tuple[int, ...]) -> bool:
    family, a, b, supply, pool = config
    if not (a and b and supply) or supply + pool != 10**27:
        return False
    if family == 0 and b <= supply:
        return False
    if family == 1 and a * 10**24 + b * supply >= 2**128:
        return False
    curve = ConstantProduct(a, b, supply, pool) if family == 0 else Linear(a, b, supply, pool)
    raised = curve.eth_for_tokens(0, 0, supply)
    numerator, denominator = curve.price_fraction(supply, raised)
    needed = raised * denominator
    enough = raised >= 10**6 and needed >= 10**6 * numerator
    return raised < 2**112 and enough and needed <= pool * numerator


def _words(case: Case) -> list[int]:
    curve, fees = case.world.curve, case.world.fees
    first = (
        [0, curve.virtual_eth, curve.virtual_tokens]
        if isinstance(curve, ConstantProduct)
        else [1, curve.start_price, curve.step]
    )
    unbounded = WORD_MAX if case.kind in (BUY_EXACT_OUT, SELL_EXACT_OUT) else 0
    words = [case.kind, *first, curve.curve_supply, curve.pool_supply]
    words += [fees.protocol_bps, fees.creator_bps, fees.launch_bps, fees.launch_blocks, 0, 0]
    words += [fees.launch_block, case.at_block, int(case.exempt), case.sold, case.raised]
    words += [case.amount, unbounded if case.bound is None else case.bound, case.min_tokens]
    assert len(words) == WORDS_A_CASE
    return words


def _outcome(raw: bytes) -> Outcome:
    error = ERRORS.get(raw[:4], "" if raw[:4] == bytes(4) else raw[:4].hex())
    words = [int.from_bytes(raw[at : at + 32], "big") for at in range(32, len(raw), 32)]
    return error, tuple(words)
