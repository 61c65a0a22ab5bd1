"""What each code of an error means, in one sentence: the table of the documentation, and what
translations are of. The sentence that an answer carries in English says more: what was expected.
"""

MEANINGS: dict[str, str] = {
    "invalid_address": "This is not a valid address.",
    "invalid_amount": "This is not a valid amount.",
    "amount_too_large": "The amount is too large.",
    "invalid_slippage": "The slippage must be between 0 and 50 percent.",
    "invalid_request": "The request is not as it must be.",
    "wrong_chain": "This is for another chain.",
    "unknown_contract": "This contract is not one of ours.",
    "unauthorized": "Please log in.",
    "forbidden": "You may not do this.",
    "token_not_found": "There is no such token.",
    "not_found": "There is no such thing.",
    "exceeds_sold": "More than the market can give or take back.",
    "zero_output": "The trade would give nothing.",
    "slippage_exceeded": "The price moved more than your slippage allows.",
    "market_graduating": "The market is moving to its pool; trading goes on soon.",
    "too_large": "The request is too large.",
    "code_taken": "Somebody else has this code.",
    "already_referred": "This wallet has a referrer already.",
    "referral_refused": "This referral is not possible.",
    "rate_limited": "Too many requests; please wait a moment.",
    "not_implemented": "This is not available yet.",
    "stale_chain": "The chain has not been heard from for a moment; please try again.",
    "market_halted": "This market is halted while it is being checked.",
    "market_paused": "This market is paused.",
    "shard_unavailable": "The market does not answer right now; please try again.",
    "store_unavailable": "Stored data cannot be reached right now; please try again.",
    "overloaded": "Too much is going on right now; please try again.",
    "internal_error": "Something went wrong on our side.",
}
