"""From final deeds to rows: pure, and in the order of chain time, so that anybody who has the
deeds, the people and the rules gets the same rows, however they were cut into batches.

Trades of one wallet in one token within the netting time are one row: what it bought less what
it sold. A window that is due closes before the next deed at or after its end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from engine.points.entries import Deed, Entry, Owed
from engine.points.rules import BPS, DAY_S, MICRO, WEI, RuleBook, Rules
from engine.points.state import Known, Wallet, Window


class Book:
    """Rows of a batch. `known` is changed in place: afterwards `wallets` and `windows` are what
    is to be remembered; `closed` are windows to forget.
    """

    def __init__(self, rules: RuleBook, known: Known) -> None:
        self._rules = rules
        self._known = known
        self.entries: list[Entry] = []
        self.owed: list[Owed] = []
        self.closed: dict[tuple[bytes, bytes], None] = {}
        self.touched: set[bytes] = set()
        # A place for each window, what is due first in front: a deed looks at no other.
        self._due = [(one.closes_at, one.who, one.token) for one in known.windows.values()]
        heapify(self._due)

    def write(self, deeds: Sequence[Deed], *, now: int) -> None:
        """All of `deeds`, in order, then what is due by the chain's time `now`."""
        for deed in deeds:
            self._close_due(deed.time)
            if deed.kind == "trade":
                self._trade(deed)
                self._share_fee(deed)
            else:
                self._reward(deed)
        self._close_due(now)

    # ------------------------------------------------------------------------ trades

    def _trade(self, deed: Deed) -> None:
        if self._rules.season_at(deed.time) is None or not self._known.is_person(
            deed.who, deed.time
        ):
            return
        place = (deed.who, deed.token)
        window = self._known.windows.get(place)
        if window is None:
            rules = self._rules.at(deed.time)
            window = Window(
                who=deed.who,
                token=deed.token,
                opened_at=deed.time,
                closes_at=deed.time + rules.netting_s,
                net=0,
                gross=0,
                trades=0,
                because=deed.key,
                version=rules.version,
            )
            heappush(self._due, (window.closes_at, *place))
            self.closed.pop(place, None)
        self._known.windows[place] = replace(
            window,
            net=window.net + deed.wei,
            gross=window.gross + abs(deed.wei),
            trades=window.trades + 1,
        )

    def _close_due(self, now: int) -> None:
        while self._due and self._due[0][0] <= now:
            _, who, token = heappop(self._due)
            self.closed[who, token] = None
            self._score(self._known.windows.pop((who, token)))

    def _score(self, window: Window) -> None:
        rules = self._rules.at(window.opened_at)
        volume = abs(window.net)
        micro = volume * rules.points_per_eth * MICRO // WEI
        facts = {"netWei": str(window.net), "grossWei": str(window.gross)}
        self._put(
            Entry(
                key=f"trade:{window.because}",
                rule="trade",
                version=rules.version,
                season=self._season(window.opened_at),
                who=window.who,
                micro=micro,
                time=window.closes_at,
                because=window.because,
                token=window.token,
                facts=facts | {"trades": str(window.trades)},
            ),
            since=window.opened_at,
        )
        if volume >= rules.streak_volume_wei:
            self._go_on_streak(window, rules)

    def _go_on_streak(self, window: Window, rules: Rules) -> None:
        day, wallet = window.opened_at // DAY_S, self._wallet(window.who)
        if day <= wallet.streak_day:
            return
        streak = wallet.streak + 1 if day == wallet.streak_day + 1 else 1
        self._remember(window.who, replace(wallet, streak_day=day, streak=streak))
        if streak > 1:
            self._put(
                Entry(
                    key=f"streak:{window.who.hex()}:{day}",
                    rule="streak",
                    version=rules.version,
                    season=self._season(window.opened_at),
                    who=window.who,
                    micro=rules.streak_points * min(streak, rules.streak_days_max) * MICRO,
                    time=window.closes_at,
                    because=window.because,
                    facts={"days": str(streak)},
                ),
                since=window.opened_at,
            )

    # ----------------------------------------------------------------- other rewards

    def _reward(self, deed: Deed) -> None:
        season = self._rules.season_at(deed.time)
        who = deed.who
        if season is None or not self._known.is_person(who, deed.time):
            return
        rules = self._rules.at(deed.time)
        micro = self._worth(deed, rules)
        if micro:
            self._put(
                Entry(
                    key=f"{deed.kind}:{deed.key}",
                    rule=deed.kind,
                    version=rules.version,
                    season=season.id,
                    who=who,
                    micro=micro,
                    time=deed.time,
                    because=deed.key,
                    token=deed.token,
                ),
                since=deed.time,
            )

    def _worth(self, deed: Deed, rules: Rules) -> int:
        if deed.kind == "create":
            return self._worth_of_creation(deed, rules)
        if deed.kind == "graduate":
            return rules.graduation_points * MICRO
        return deed.wei * rules.bridge_points_per_eth * MICRO // WEI

    def _worth_of_creation(self, deed: Deed, rules: Rules) -> int:
        wallet, day = self._wallet(deed.who), deed.time // DAY_S
        before = wallet.creations if wallet.creation_day == day else 0
        self._remember(deed.who, replace(wallet, creation_day=day, creations=before + 1))
        return rules.creation_points * MICRO if before < rules.creations_a_day else 0

    def _put(self, entry: Entry, *, since: int) -> None:
        if entry.micro <= 0:
            return
        self.entries.append(entry)
        if entry.rule == "referral":
            return
        share_bps = self._rules.at(since).points_share_bps
        for level, (who, bps) in enumerate(
            zip(self._referrers(entry.who, since), share_bps, strict=False), 1
        ):
            self._put(
                Entry(
                    key=f"referral:{level}:{entry.key}",
                    rule="referral",
                    version=entry.version,
                    season=entry.season,
                    who=who,
                    micro=entry.micro * bps // BPS,
                    time=entry.time,
                    because=entry.because,
                    token=entry.token,
                    facts={"level": str(level), "of": entry.key},
                ),
                since=since,
            )

    # ------------------------------------------------------------------- fees shared

    def _share_fee(self, deed: Deed) -> None:
        rules, wallet = self._rules.at(deed.time), self._wallet(deed.who)
        wallet = replace(wallet, volume=wallet.volume + abs(deed.wei))
        referrers = self._earners(deed)
        if referrers and wallet.referred_at < 0:
            wallet = replace(wallet, referred_at=deed.time)
        in_time = deed.time < wallet.referred_at + rules.fee_days * DAY_S
        if in_time and wallet.volume >= rules.fee_activation_wei:
            for level, (who, bps) in enumerate(
                zip(referrers, rules.fee_share_bps, strict=False), 1
            ):
                wei = min(deed.fee * bps // BPS, rules.fee_cap_wei - wallet.shared)
                if wei <= 0:
                    continue
                wallet = replace(wallet, shared=wallet.shared + wei)
                self.owed.append(
                    Owed(
                        key=f"fee:{level}:{deed.key}",
                        version=rules.version,
                        who=who,
                        referee=deed.who,
                        level=level,
                        wei=wei,
                        time=deed.time,
                        because=deed.key,
                        token=deed.token,
                    )
                )
        if referrers or deed.who in self._known.people:
            self._remember(deed.who, wallet)

    def _earners(self, deed: Deed) -> list[bytes]:
        # The trade's own tag goes before what the trader once said.
        owner, since = self._known.codes.get(deed.tag, (None, 0))
        if owner is None or since > deed.time or owner == deed.who:
            return self._referrers(deed.who, deed.time)
        above = self._known.referrer_of(owner, deed.time)
        return [owner] if above is None or above == deed.who else [owner, above]

    def _referrers(self, who: bytes, time: int) -> list[bytes]:
        first = self._known.referrer_of(who, time)
        if first is None:
            return []
        second = self._known.referrer_of(first, time)
        return [first] if second is None else [first, second]

    # ------------------------------------------------------------------------ memory

    def _season(self, time: int) -> str:
        season = self._rules.season_at(time)
        assert season is not None, "a window opens in a season only"
        return season.id

    def _wallet(self, who: bytes) -> Wallet:
        return self._known.wallets.get(who, Wallet())

    def _remember(self, who: bytes, wallet: Wallet) -> None:
        self._known.wallets[who] = wallet
        self.touched.add(who)


def people_of(deeds: Iterable[Deed], windows: Iterable[Window]) -> set[bytes]:
    """Wallets that must be known to write these."""
    return {deed.who for deed in deeds} | {window.who for window in windows}
