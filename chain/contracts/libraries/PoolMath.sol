// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "../ILaunchpad.sol";
import {CurveMath} from "./CurveMath.sol";
import {Fees} from "./Fees.sol";

/// @title PoolMath
/// @notice The rules of one trade on a graduated market's pair, by the pair's own rounding: what
/// comes out is floored, what goes in is floored and one unit added. Order of checks: amount bound,
/// more than the reserve, amount bound of the other side, zero, slippage. In what is returned
/// `sold` and `raised` are the pair's token and WETH reserves after.
/// Python twins: `curves/uniswap_v2.py`, `curves/pool_trade.py`, to the wei and to the error.
library PoolMath {
    using Fees for Fees.Rates;

    uint256 private constant KEPT = 997;
    uint256 private constant WHOLE = 1_000;

    /// @dev A graduated market. Neither reserve is ever zero: its liquidity is burned.
    struct Pool {
        Fees.Rates rates;
        uint256 reserveToken;
        uint256 reserveWeth;
    }

    function buyExactIn(Pool memory pool, uint256 value, uint256 minTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(value);
        uint256 net = pool.rates.netRoundingDown(value);
        _checkReserve(pool.reserveWeth, net);
        uint256 tokens = _out(net, pool.reserveWeth, pool.reserveToken);
        if (tokens == 0) revert ILaunchpad.ZeroOutput();
        if (tokens < minTokens) revert ILaunchpad.SlippageExceeded(tokens, minTokens);
        return _bought(pool, tokens, value, net, 0);
    }

    /// @dev `maxValue` of the greatest word: no bound, so no refund either.
    function buyExactOut(Pool memory pool, uint256 tokens, uint256 maxValue, uint256 minTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        bool bounded = maxValue != type(uint256).max;
        _checkAmount(tokens);
        if (bounded) _checkAmount(maxValue);
        if (tokens >= pool.reserveToken) revert ILaunchpad.ExceedsSold(tokens, pool.reserveToken);
        uint256 eth = _in(tokens, pool.reserveWeth, pool.reserveToken);
        _checkReserve(pool.reserveWeth, eth);
        if (tokens == 0) revert ILaunchpad.ZeroOutput();
        uint256 spent = pool.rates.grossRoundingUp(eth);
        if (tokens < minTokens) revert ILaunchpad.SlippageExceeded(tokens, minTokens);
        if (spent > maxValue) revert ILaunchpad.SlippageExceeded(spent, maxValue);
        return _bought(pool, tokens, spent, eth, bounded ? maxValue - spent : 0);
    }

    function sellExactIn(Pool memory pool, uint256 tokens, uint256 minEth)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(tokens);
        _checkReserve(pool.reserveToken, tokens);
        uint256 gross = _out(tokens, pool.reserveToken, pool.reserveWeth);
        uint256 eth = pool.rates.netRoundingDown(gross);
        if (eth == 0) revert ILaunchpad.ZeroOutput();
        if (eth < minEth) revert ILaunchpad.SlippageExceeded(eth, minEth);
        return _sold(pool, tokens, eth, gross);
    }

    /// @dev Pays exactly `eth` after fees.
    function sellExactOut(Pool memory pool, uint256 eth, uint256 maxTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(eth);
        uint256 gross = pool.rates.grossRoundingUp(eth);
        if (gross >= pool.reserveWeth) revert ILaunchpad.ExceedsRaised(gross, pool.reserveWeth);
        uint256 tokens = _in(gross, pool.reserveToken, pool.reserveWeth);
        _checkReserve(pool.reserveToken, tokens);
        if (eth == 0) revert ILaunchpad.ZeroOutput();
        if (tokens > maxTokens) revert ILaunchpad.SlippageExceeded(tokens, maxTokens);
        return _sold(pool, tokens, eth, gross);
    }

    function _out(uint256 amount, uint256 reserveIn, uint256 reserveOut)
        private
        pure
        returns (uint256)
    {
        uint256 kept = amount * KEPT;
        return kept * reserveOut / (reserveIn * WHOLE + kept);
    }

    function _in(uint256 amount, uint256 reserveIn, uint256 reserveOut)
        private
        pure
        returns (uint256)
    {
        return reserveIn * amount * WHOLE / ((reserveOut - amount) * KEPT) + 1;
    }

    function _checkAmount(uint256 amount) private pure {
        if (amount > CurveMath.AMOUNT_MAX) revert ILaunchpad.AmountTooLarge(amount);
    }

    /// @dev The pair keeps its reserves in 112 bits and reverts above.
    function _checkReserve(uint256 reserve, uint256 amount) private pure {
        if (reserve + amount > CurveMath.AMOUNT_MAX) revert ILaunchpad.AmountTooLarge(amount);
    }

    function _bought(
        Pool memory pool,
        uint256 tokens,
        uint256 spent,
        uint256 eth,
        uint256 refund
    ) private pure returns (ILaunchpad.TradeQuote memory result) {
        (result.protocolFee, result.creatorFee, result.launchFee) = pool.rates.split(spent, eth);
        result.tokens = tokens;
        result.eth = spent;
        result.curveEth = eth;
        result.refund = refund;
        result.sold = pool.reserveToken - tokens;
        result.raised = pool.reserveWeth + eth;
    }

    function _sold(Pool memory pool, uint256 tokens, uint256 eth, uint256 gross)
        private
        pure
        returns (ILaunchpad.TradeQuote memory result)
    {
        (result.protocolFee, result.creatorFee, result.launchFee) = pool.rates.split(gross, eth);
        result.tokens = tokens;
        result.eth = eth;
        result.curveEth = gross;
        result.sold = pool.reserveToken + tokens;
        result.raised = pool.reserveWeth - gross;
    }
}
