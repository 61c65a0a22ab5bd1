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
    _trades(rows, [d for d in deeds if d[1] == "trade"], people, now)
    made = defaultdict(int)
    for key, kind, time, who, *_ in deeds:
        if kind == "trade" or not _joined(people, who, time):
            continue
        made[who, kind, time // DAY] += 1
        if kind == "create" and made[who, kind, time // DAY] > 3:
            continue
        micro = {"create": 50, "graduate": 5000}[kind] * MICRO
        _give(rows, f"{kind}:{key}", (kind, who, micro), people, time)
    return rows


def _trades(rows, deeds, people, now):
    streaks = defaultdict(list)
    for who, token in {d[3:5] for d in deeds}:
        mine = [d for d in deeds if d[3:5] == (who, token) and _joined(people, who, d[2])]
        while mine and mine[0][2] + NETTING <= now:
            opened = mine[0][2]
            inside = [d for d in mine if d[2] < opened + NETTING]
            mine = mine[len(inside) :]
            net = abs(sum(d[5] for d in inside))
            row = ("trade", who, net * 1000 * MICRO // ETH)
            _give(rows, f"trade:{inside[0][0]}", row, people, opened)
            if net >= ETH // 100:
                streaks[who].append((opened + NETTING, token, opened))
    for who, scored in streaks.items():
        last, run = None, 0
        for _, _, opened in sorted(scored):
            day = opened // DAY
            if last is not None and day <= last:
                continue
            run = run + 1 if last is not None and day == last + 1 else 1
            last = day
            if run > 1:
                row = ("streak", who, 10 * min(run, 7) * MICRO)
                _give(rows, f"streak:{who.hex()}:{day}", row, people, opened)


def owed(deeds, people, codes):
    """key -> (who, wei) of every share of a fee."""
    rows = {}
    volume, shared, first = defaultdict(int), defaultdict(int), {}
    for key, _, time, who, _, wei, fee, tag in (d for d in deeds if d[1] == "trade"):
        line = _tagged(people, codes.get(tag), who, time) or _line(people, who, time)
        if line or who in people:
            volume[who] += abs(wei)
        if not line:
            continue
        first.setdefault(who, time)
        if volume[who] < ETH // 100 or time >= first[who] + 365 * DAY:
            continue
        for level, (to, bps) in enumerate(zip(line, (2000, 500), strict=False), 1):
            part = min(fee * bps // 10_000, 10 * ETH - shared[who])
            if part > 0:
                shared[who] += part
                rows[f"fee:{level}:{key}"] = (to, part)
    return rows


def _tagged(people, code, who, time):
    owner, since = code or (None, 0)
    if owner is None or since > time or owner == who:
        return []
    above = _referrer(people, owner, time)
    return [owner] if above in (None, who) else [owner, above]


def _give(rows, key, row, people, since):
    _, who, micro = row
    if micro <= 0:
        return
    rows[key] = row
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
