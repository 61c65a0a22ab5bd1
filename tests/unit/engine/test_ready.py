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
    dice = random.Random(seed)
    scenario = Scenario(remember=True)
    tokens = [scenario.launch(name) for name in ("a", "b", "c")]
    target, ready = group(), Ready(most=dice.choice((2, 100)))
    target.apply(batch(target.position, scenario.seal()))
    shown = []
    compared = kept = 0
    for _ in range(60):
        what = dice.randrange(6)
        if what == 0:
            target.apply(batch(target.position, Finalised(CHAIN_ID, target.position.number)))
        elif what == 1 and len(target.hashes) > 3:
            number = target.position.number - dice.randrange(1, 3)
            before = target.position.number
            blocks = [one for one in shown if number < one.header.number <= before]
            ancestor = Reorg(CHAIN_ID, number, target.hashes[number])
            target.apply(batch(target.position, ancestor))
            look(target, ready, tokens)
            for block in blocks:
                target.apply(batch(target.position, block))
                look(target, ready, tokens)
        elif what == 2:
            target.incarnations = {b: i + 1 for b, i in target.incarnations.items()}
        elif what in (3, 4):
            for _ in range(dice.randrange(3)):
                scenario.buy(dice.choice(tokens), ETH // dice.randrange(50, 5_000))
            block = scenario.seal()
            if dice.random() < 0.7:
                parts = open_view(block)
                for event in parts.events:
                    if dice.random() < 0.2:  # it does not fit
                        event = replace(event, sold=event.sold + 1)
                    part = replace(parts, events=(event,))
                    target.apply(batch(target.position, part))
                    look(target, ready, tokens)
            shown.append(block)
            target.apply(batch(target.position, block))
        else:
            kept += 1
        compared += look(target, ready, tokens)
    assert compared == 60 * 6 and kept and shown


def look(target, ready, tokens):
    compared = 0
    for token in tokens:
        for sealed in (True, False):
            bucket, timeline = bucket_of(token), target.timelines[token]
            for _ in range(2):
                found = ready.of(target, timeline, token=token, bucket=bucket, sealed=sealed)
                assert found == anew(target, token, sealed=sealed)
            compared += 1
    return compared


def test_it_is_kept_while_nothing_changes_and_bounded():
    scenario = Scenario(remember=True)
    tokens = [scenario.launch(name) for name in ("a", "b", "c")]
    target, ready = group(), Ready(most=2)
    target.apply(batch(target.position, scenario.seal()))

    def of(token):
        timeline, bucket = target.timelines[token], bucket_of(token)
        return ready.of(target, timeline, token=token, bucket=bucket, sealed=False)

    first = of(tokens[0])
    assert of(tokens[0]) is first
    of(tokens[1])
    assert len(ready) == 2 and of(tokens[0]) is first
    of(tokens[2])
    assert len(ready) == 1 and of(tokens[0]) == first
