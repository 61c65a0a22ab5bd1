"""Random calls by everybody, the owner too: nobody gets at what the curves raised."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from curves.constant_product import ConstantProduct
from curves.linear import D
from tests.support.evm import ETHER, FOREVER, Reverted
from tests.support.mirror import TAG, Mirror, launch
from tests.support.stage import Stage

CALLS = 400
SUPPLY = 10**27
ON_CURVE = (1, 2, 4)
MAX = 2**256 - 1
FEES = (100, 50, 0, 0, 70, 30)
CURVE = (0, 3 * 10**18, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23)


class Machine:
    """Calls at random, and what must hold after each."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.rng = random.Random(seed)
        self.people = [stage.chain.account(name) for name in ("ann", "bob", "cat")]
        self.outcomes = Counter[str]()
        stage.pad.send("setFees", FEES, sender=stage.owner)
        self.markets = [self._launch(index) for index in range(4)]
        self.kept = {mirror.token: self._k(mirror) for mirror in self.markets}

    def step(self) -> None:
        mirror, who = self.rng.choice(self.markets), self.rng.choice(self.people)
        deed = self.rng.choices(
            [self._buy, self._sell, self._end, self._graduate, self._reopen, self._admin],
            [8, 8, 1, 2, 1, 3],
        )[0]
        try:
            deed(mirror, who)
        except Reverted as refused:
            assert "nsufficient funds" not in refused.name
            self.outcomes["reverted"] += 1
        else:
            self.outcomes[deed.__name__] += 1
        self.check()

    def check(self) -> None:
        pad, chain = self.stage.pad, self.stage.chain
        owed = pad.call("protocolFees") + sum(pad.call("creatorFees", who) for who in self.people)
        raised = 0
        for mirror in self.markets:
            state = pad.call("market", mirror.token)
            held = self.stage.token(mirror.token).call("balanceOf", pad.address)
            if state["phase"] in ON_CURVE:
                raised += state["raised"]
                assert held == SUPPLY - state["sold"]
            else:
                assert held == 0
            mirror.sold, mirror.raised = state["sold"], state["raised"]
            k = self._k(mirror)
            assert k >= self.kept[mirror.token], "k fell"
            self.kept[mirror.token] = k
        assert chain.balance(pad.address) == raised + owed

    def _launch(self, index: int) -> Mirror:
        creator, curve_id = self.people[index % 3], index % 2
        chain, pad = self.stage.chain, self.stage.pad
        return launch(chain, pad, creator=creator, salt=900 + index, curve_id=curve_id)[0]

    def _k(self, mirror: Mirror) -> int:
        curve = mirror.world.curve
        if isinstance(curve, ConstantProduct):
            numerator, denominator = curve.price_fraction(mirror.sold, mirror.raised)
            return numerator * denominator
        return mirror.raised * D - curve.area(0, mirror.sold)

    def _buy(self, mirror: Mirror, who: bytes) -> None:
        amount, tail = self._amount(10**18), (who, FOREVER, TAG)
        if self.rng.random() < 0.5:
            arguments = (mirror.token, 0, *tail)
            self.stage.pad.send("buy", *arguments, sender=who, value=amount)
        else:
            arguments = (mirror.token, self._amount(10**26), 0, *tail)
            self.stage.pad.send("buyExactOut", *arguments, sender=who, value=20 * ETHER)

    def _sell(self, mirror: Mirror, who: bytes) -> None:
        held, tail = self.stage.token(mirror.token).call("balanceOf", who), (who, FOREVER, TAG)
        if self.rng.random() < 0.5:
            arguments = (mirror.token, self._amount(max(2, held)), 0, *tail)
            self.stage.pad.send("sell", *arguments, sender=who)
        else:
            arguments = (mirror.token, self._amount(10**17), MAX, *tail)
            self.stage.pad.send("sellExactOut", *arguments, sender=who)

    def _end(self, mirror: Mirror, who: bytes) -> None:
        arguments = (mirror.token, 0, who, FOREVER, TAG)
        self.stage.pad.send("buy", *arguments, sender=who, value=100 * ETHER)

    def _graduate(self, mirror: Mirror, who: bytes) -> None:
        if self.rng.random() < 0.5:  # else some are left for `reopen`
            raise Reverted("left")
        self.stage.pad.send("graduate", mirror.token, sender=who)

    def _reopen(self, mirror: Mirror, who: bytes) -> None:
        self.stage.chain.pass_time(7 * 24 * 3_600)
        self.stage.pad.send("reopen", mirror.token, sender=who)

    def _admin(self, mirror: Mirror, who: bytes) -> None:
        owner, pad = self.stage.owner, self.stage.pad
        deeds: list[Callable[[], Any]] = [
            lambda: pad.send("claimProtocolFees", owner, sender=owner),
            lambda: pad.send("claimCreatorFees", who, sender=who),
            lambda: pad.send("setFees", FEES, sender=owner),
            lambda: pad.send("setLaunchesPaused", self.rng.random() < 0.5, sender=owner),
            lambda: pad.send("proposeOwner", who, sender=owner),
            lambda: pad.send("addCurve", CURVE, sender=owner),
        ]
        self.rng.choice(deeds)()

    def _amount(self, top: int) -> int:
        return self.rng.randrange(1, max(2, top // 10 ** self.rng.choice([0, 0, 1, 3, 12])))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_calls_leave_the_launchpad_solvent(
    stage: Stage, seed: int, record_property: Callable[[str, object], None]
) -> None:
    with stage.chain.undone():
        machine = Machine(stage, seed)
        for _ in range(CALLS):
            machine.step()
        phases = {stage.pad.call("market", m.token)["phase"] for m in machine.markets}
        print(f"\n{CALLS} calls, {machine.outcomes['reverted']} reverted: {machine.outcomes}")
        record_property("trials", CALLS)
        record_property("reverted", machine.outcomes["reverted"])
        assert machine.outcomes["reverted"] < CALLS * 6 // 10
        assert 3 in phases and machine.outcomes["_sell"] > 30 and machine.outcomes["_admin"] > 20


def test_no_role_takes_what_a_curve_raised(stage: Stage) -> None:
    chain, pad, owner = stage.chain, stage.pad, stage.owner
    creator, heir = chain.account("creator"), chain.account("heir", 0)
    with chain.undone():
        mirror, _ = launch(chain, pad, creator=creator, salt=1, value=ETHER)
        owed = pad.call("protocolFees"), pad.call("creatorFees", creator)
        before = chain.balance(heir)
        pad.send("claimProtocolFees", heir, sender=owner)
        pad.send("claimCreatorFees", heir, sender=creator)
        pad.send("claimProtocolFees", heir, sender=owner)
        pad.send("claimCreatorFees", heir, sender=creator)
        assert chain.balance(heir) - before == sum(owed)
        assert chain.balance(pad.address) == mirror.raised
        names = {
            entry["name"]
            for entry in pad.artifact["abi"]
            if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
        }
        # Each of them was thought about; a new one must be too.
        assert names == {
            *("create", "buy", "buyExactOut", "sell", "sellExactOut", "graduate", "reopen"),
            *("claimProtocolFees", "claimCreatorFees", "addCurve", "setFees"),
            *("setLaunchesPaused", "proposeOwner", "acceptOwner"),
        }
        for function, arguments in [
            ("addCurve", (CURVE,)),
            ("setFees", (FEES,)),
            ("setLaunchesPaused", (True,)),
            ("proposeOwner", (heir,)),
        ]:
            pad.send(function, *arguments, sender=owner)
        assert chain.balance(pad.address) == mirror.raised
        chain.rpc("anvil_setBalance", "0x" + heir.hex(), hex(10 * ETHER))
        pad.send("acceptOwner", sender=heir)
        pad.send("claimProtocolFees", heir, sender=heir)
        assert chain.balance(pad.address) == mirror.raised
        mirror.check_state()
