"""What the tokens cost that a wallet bought and has not sold: the moving average.

The cases, in the order of the code: a buy adds its tokens and all that was paid for them, fees
too; a sell takes the share of the cost that falls to its tokens, rounded down, and all of it
with the last one. What is sold beyond what was bought came by transfer and cost nothing.

So received - spent = realised - cost at any time, and no trade changes what an earlier one
realised. A transfer changes nothing: given away is not sold, and given is not bought.
"""

from curves.values import value


@value
class Basis:
    """`held` tokens that were bought and not sold; their cost, 0 when none are held."""

    held: int
    cost_wei: int


NO_BASIS = Basis(0, 0)


def bought(before: Basis, *, tokens: int, spent_wei: int) -> Basis:
    """After a buy of `tokens` (at least one) for `spent_wei` in all."""
    return Basis(before.held + tokens, before.cost_wei + spent_wei)


def sold(before: Basis, *, tokens: int) -> Basis:
    """After a sell. It realises what was received less the cost that went."""
    if tokens >= before.held:
        return NO_BASIS
    gone_wei = before.cost_wei * tokens // before.held
    return Basis(before.held - tokens, before.cost_wei - gone_wei)


def cost_of(basis: Basis, *, tokens: int) -> int:
    """What `tokens` of it cost, in wei rounded down; all of it for more than it has."""
    return basis.cost_wei - sold(basis, tokens=tokens).cost_wei


def realised_wei(*, received_wei: int, spent_wei: int, cost_wei: int) -> int:
    """The profit of all sells until now, of the sums of what was received and spent until now
    and the cost that is left.
    """
    return received_wei - spent_wei + cost_wei
