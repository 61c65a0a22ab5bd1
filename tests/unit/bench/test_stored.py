"""Markets of any number for a bench: different, servable, and the same each time."""

from bench import stored, tokens
from engine import snapshot
from engine.messages import AsOf, QuoteReply, QuoteRequest
from engine.quoting import answer

AS_OF = AsOf(10, bytes(32), 0, "sealed", (1, 1))


def test_tokens_of_fewer_are_the_first_of_more() -> None:
    assert stored.tokens_of(50)[:10] == stored.tokens_of(10)
    assert len(set(stored.tokens_of(50))) == 50


def test_markets_come_through_a_snapshot_and_are_quoted() -> None:
    made = stored.markets(stored.tokens_of(40))
    assert snapshot.from_bytes(snapshot.to_bytes(made)) == made
    assert len({(market.sold, market.raised) for market in made}) > 10
    for market in made:
        request = QuoteRequest(market.token, True, False, tokens.AMOUNT_WEI)
        assert isinstance(answer(market, request, as_of=AS_OF, bucket=0), QuoteReply)


def test_demand_by_zipf_is_of_few_tokens_and_even_demand_of_all() -> None:
    def share_of_first(demand: str) -> float:
        asked = tokens._requests(1_000, demand)
        first = set(stored.tokens_of(10))
        return sum(request.token in first for request in asked) / len(asked)

    assert share_of_first("uniform") < 0.05
    assert 0.3 < share_of_first("zipf") < 0.5
