"""Random people, codes and deeds in the order of time, for the ledgers of points."""

import random
from collections.abc import Sequence

from engine.points.entries import Deed
from engine.points.state import Known, Person

START = 1_767_225_600
WALLETS = [bytes([number]) * 20 for number in range(1, 9)]
TOKENS = [bytes([200 + number]) * 20 for number in range(3)]
TAGS = [b"alpha".ljust(32, b"\0"), b"beta".ljust(32, b"\0"), bytes(32)]


def world(seed: int) -> Known:
    """Some wallets that logged in, each perhaps brought by one that came before it."""
    dice, known = random.Random(seed), Known()
    for place, wallet in enumerate(WALLETS[:-1]):
        since = START - 1_000 + dice.choice((0, 0, 90_000)) + place
        referrer = dice.choice(WALLETS[:place]) if place and dice.random() < 0.7 else None
        bound_at = since + dice.choice((0, 50_000)) if referrer else 0
        known.people[wallet] = Person(since, referrer, bound_at)
    for tag in TAGS[:2]:
        known.codes[tag] = dice.choice(WALLETS[:3]), START + dice.choice((0, 60_000))
    return known


def deeds(seed: int, count: int, *, days: float = 4.0) -> list[Deed]:
    """In order; several may share a second."""
    dice, made, time = random.Random(seed), [], START
    for number in range(count):
        gap = dice.choice((0, 1, 30, 300, 599, 600, 601, int(days * 86_400 / count * 2)))
        time += gap if dice.random() < 0.7 else 0
        kind = "trade" if dice.random() < 0.85 else dice.choice(("create", "graduate"))
        wei = dice.choice((1, 10**9, 10**16, 10**16, 10**18)) * dice.randrange(1, 9)
        made.append(
            Deed(
                key=f"1:{number:064x}:0",
                kind=kind,
                time=time,
                block=time - START,
                who=dice.choice(WALLETS),
                token=dice.choice(TOKENS),
                wei=(wei if dice.random() < 0.5 else -wei) if kind == "trade" else 0,
                fee=wei // 100 if kind == "trade" else 0,
                tag=dice.choice(TAGS) if kind == "trade" else b"",
            )
        )
    return made


def plain(made: Sequence[Deed]) -> list[tuple[object, ...]]:
    """As the model wants them."""
    return [(d.key, d.kind, d.time, d.who, d.token, d.wei, d.fee, d.tag) for d in made]


def plain_people(known: Known) -> dict[bytes, tuple[int, bytes | None, int]]:
    """As the model wants them."""
    return {who: (p.since, p.referrer, p.bound_at) for who, p in known.people.items()}
