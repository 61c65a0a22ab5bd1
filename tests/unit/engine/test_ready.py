"""What is kept ready is what would be made anew, whatever happens to the market."""

import random
from dataclasses import replace

import pytest

from engine.buckets import bucket_of
from engine.messages import Finalised, Reorg
from engine.quoting import quotable
from engine.ready import Ready
from tests.support.scenario import CHAIN_ID, Scenario
from tests.unit.engine.test_group import batch, group
from tests.unit.engine.test_group_overlay import ETH, open_view


def anew(target, token, *, sealed):
    timeline, bucket = target.timelines[token], bucket_of(token)
    market = timeline.sealed if sealed else timeline.current
    as_of = target.as_of(timeline, bucket, sealed=sealed)
    return None if market is None else quotable(market, as_of=as_of, bucket=bucket)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_kept_is_what_would_be_made(seed):
    world = World(random.Random(seed))
    steps = (world.finalise, world.reorganise, world.own_anew, world.trade, world.trade, world.look)
    for _ in range(60):
        world.dice.choice(steps)()
        world.look()
    assert world.compared >= 60 * 6 and world.shown


class World:
    """Three markets of one group, to which anything may happen."""

    def __init__(self, dice):
        self.dice = dice
        self.scenario = Scenario(remember=True)
        self.tokens = [self.scenario.launch(name) for name in ("a", "b", "c")]
        self.target, self.ready = group(), Ready(most=dice.choice((2, 4, 100)))
        self.shown = []
        self.compared = 0
        self.apply(self.scenario.seal())

    def apply(self, message):
        self.target.apply(batch(self.target.position, message))
        self.look()

    def finalise(self):
        self.apply(Finalised(CHAIN_ID, self.target.position.number))

    def reorganise(self):
        tip = self.target.position.number
        number = tip - self.dice.randrange(1, 3)
        if number not in self.target.hashes:
            return
        self.apply(Reorg(CHAIN_ID, number, self.target.hashes[number]))
        for block in [one for one in self.shown if number < one.header.number <= tip]:
            self.apply(block)

    def own_anew(self):
        self.target.incarnations = {b: i + 1 for b, i in self.target.incarnations.items()}

    def trade(self):
        for _ in range(self.dice.randrange(3)):
            self.scenario.buy(self.dice.choice(self.tokens), ETH // self.dice.randrange(50, 5_000))
        block = self.scenario.seal()
        opened = open_view(block)
        for event in opened.events if self.dice.random() < 0.7 else ():
            # Some do not fit.
            lie = replace(event, sold=event.sold + (self.dice.random() < 0.2))
            self.apply(replace(opened, events=(lie,)))
        self.shown.append(block)
        self.apply(block)

    def look(self):
        for token in self.tokens:
            bucket, timeline = bucket_of(token), self.target.timelines[token]
            for sealed in (True, False, True, False):
                found = self.ready.of(
                    self.target, timeline, token=token, bucket=bucket, sealed=sealed
                )
                assert found == anew(self.target, token, sealed=sealed)
                self.compared += 1


def test_it_is_kept_while_nothing_changes_and_bounded():
    scenario = Scenario(remember=True)
    tokens = [scenario.launch(str(number)) for number in range(20)]
    target, ready = group(), Ready(most=8)
    target.apply(batch(target.position, scenario.seal()))

    def of(token):
        timeline, bucket = target.timelines[token], bucket_of(token)
        return ready.of(target, timeline, token=token, bucket=bucket, sealed=False)

    often, once = of(tokens[0]), of(tokens[1])
    for token in tokens[2:]:
        assert of(tokens[0]) is often, "what is asked for again stays"
        of(token)
        assert len(ready) <= 8
    again = of(tokens[1])
    assert again == once and again is not once
