"""The rules of points, worked out anew from all deeds at once, the slow and plain way.

Deeds are tuples (key, kind, time, who, token, wei, fee, tag); people: wallet to (since,
referrer or None, bound at); codes: tag to (owner, since). Numbers are those of version 1.
"""

from collections import defaultdict

ETH = 10**18
MICRO = 10**6
DAY = 86_400
NETTING = 600


def points(deeds, people, now):
    """key -> (rule, who, micro) of every row that is due by `now`."""
    rows = {}
    streaks = defaultdict(list)
    for who, token in {(d[3], d[4]) for d in deeds if d[1] == "trade"}:
        mine = [d for d in deeds if d[1] == "trade" and d[3:5] == (who, token)]
        mine = [d for d in mine if _joined(people, who, d[2])]
        while mine:
            opened = mine[0][2]
            inside = [d for d in mine if d[2] < opened + NETTING]
            mine = mine[len(inside) :]
            closes = opened + NETTING
            if closes > now:
                break
            net = abs(sum(d[5] for d in inside))
            _give(rows, f"trade:{inside[0][0]}", "trade", who, net * 1000 * MICRO // ETH, people, opened)
            if net >= ETH // 100:
                streaks[who].append((closes, token, opened))
    for who, scored in streaks.items():
        last, run = None, 0
        for _, _, opened in sorted(scored):
            day = opened // DAY
            if last is not None and day <= last:
                continue
            run = run + 1 if last is not None and day == last + 1 else 1
            last = day
            if run > 1:
                key = f"streak:{who.hex()}:{day}"
                _give(rows, key, "streak", who, 10 * min(run, 7) * MICRO, people, opened)
    made = defaultdict(int)
    for key, kind, time, who, *_ in deeds:
        if kind == "trade" or not _joined(people, who, time):
            continue
        if kind == "create":
            made[who, time // DAY] += 1
            if made[who, time // DAY] > 3:
                continue
        micro = {"create": 50, "graduate": 5000}[kind] * MICRO
        _give(rows, f"{kind}:{key}", kind, who, micro, people, time)
    return rows


def owed(deeds, people, codes):
    """key -> (who, wei) of every share of a fee."""
    rows = {}
    volume, shared, first = defaultdict(int), defaultdict(int), {}
    for key, kind, time, who, _, wei, fee, tag in deeds:
        if kind != "trade":
            continue
        owner, since = codes.get(tag, (None, 0))
        if owner is not None and since <= time and owner != who:
            above = _referrer(people, owner, time)
            line = [owner] + ([above] if above not in (None, who) else [])
        else:
            line = _line(people, who, time)
        if line or who in people:
            volume[who] += abs(wei)
        if line:
            first.setdefault(who, time)
        else:
            continue
        if volume[who] < ETH // 100 or time >= first[who] + 365 * DAY:
            continue
        for level, (to, bps) in enumerate(zip(line, (2000, 500), strict=False), 1):
            part = min(fee * bps // 10_000, 10 * ETH - shared[who])
            if part > 0:
                shared[who] += part
                rows[f"fee:{level}:{key}"] = (to, part)
    return rows


def _give(rows, key, rule, who, micro, people, since):
    if micro <= 0:
        return
    rows[key] = (rule, who, micro)
    for level, (to, bps) in enumerate(zip(_line(people, who, since), (1000, 500), strict=False), 1):
        if micro * bps // 10_000:
            rows[f"referral:{level}:{key}"] = ("referral", to, micro * bps // 10_000)


def _joined(people, who, time):
    return who in people and people[who][0] <= time


def _referrer(people, who, time):
    _, referrer, bound = people.get(who, (0, None, 0))
    return referrer if referrer is not None and bound <= time else None


def _line(people, who, time):
    one = _referrer(people, who, time)
    two = _referrer(people, one, time) if one is not None else None
    return [to for to in (one, two) if to is not None]
