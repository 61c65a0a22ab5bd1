"""The live terminal view: what is trading, how fast, and whether the quotes were exact."""

from rich.console import Group as Stack
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.demo.tally import Tally, percentile

TOKENS_SHOWN = 16
DIGITS_SHOWN = 14


def render(tally: Tally, *, url: str, headline: str) -> Panel:
    """One frame."""
    return Panel(
        Stack(_summary(tally), _markets(tally), _footer(tally, url)),
        title=f"risecurve · {headline}",
        border_style="cyan",
    )


def _summary(tally: Tally) -> Table:
    latencies = list(tally.log_to_tick_ms)
    p50, p99 = percentile(latencies, 0.50), percentile(latencies, 0.99)
    table = Table.grid(expand=True)
    for _ in range(5):
        table.add_column(justify="left")
    table.add_row(
        _figure("trades", f"{len(tally.trade_hashes)}", f"{tally.trades_per_s():.1f}/s"),
        _figure("quotes", f"{tally.quotes_checked}", f"{tally.quotes_per_s():.0f}/s"),
        _figure("ticks", f"{tally.ticks}", f"{tally.tick_gaps} gaps"),
        _figure("log to tick", _ms(p50), f"p99 {_ms(p99)}"),
        _verdict(tally),
    )
    return table


def _markets(tally: Tally) -> Table:
    table = Table(expand=True, box=None, header_style="dim")
    for title in ("token", "curve", "price, ETH", "market cap, ETH", "trades"):
        table.add_column(title, no_wrap=True, justify="left" if title == "token" else "right")
    table.add_column("to graduation", no_wrap=True, ratio=1)
    ranked = sorted(tally.markets.items(), key=lambda item: -item[1].progress_bps)
    for address, market in ranked[:TOKENS_SHOWN]:
        share = market.progress_bps / 100
        table.add_row(
            Text.assemble((f"{market.symbol:<7}", "bold"), (f" {address[:8]}…", "dim")),
            "linear" if market.family == "linear" else "x·y=k",
            market.price[:DIGITS_SHOWN],
            market.market_cap[:DIGITS_SHOWN],
            str(market.trades),
            Text("pool open", style="green") if market.phase == "graduated" else _bar(share),
        )
    return table


def _bar(share: float) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=24)
    grid.add_column(justify="right", width=7)
    grid.add_row(ProgressBar(total=100, completed=share, width=24), f"{share:5.2f} %")
    return grid


def _footer(tally: Tally, url: str) -> Text:
    text = Text(f"\nAPI {url}/api/tokens   health {url}/readyz   Ctrl-C ends", style="dim")
    if tally.mismatches:
        text.append(f"\nMISMATCH {tally.mismatches[-1]}"[:300], style="bold red")
    elif tally.errors:
        text.append(f"\nlast refusal: {tally.errors[-1]}"[:160], style="yellow")
    return text


def _verdict(tally: Tally) -> Text:
    bad = tally.quote_mismatches
    style = "bold red" if bad else "bold green"
    return Text.assemble(
        ("against the contract\n", "dim"), (f"{bad} of {tally.quotes_checked} differ", style)
    )


def _figure(name: str, value: str, beside: str) -> Text:
    return Text.assemble((f"{name}\n", "dim"), (value, "bold"), (f"  {beside}", "cyan"))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
