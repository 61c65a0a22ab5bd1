// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "../ILaunchpad.sol";
import {CurveMath} from "./CurveMath.sol";
import {Fees} from "./Fees.sol";

/// @title TradeMath
/// @notice The rules of one trade over any curve. Order of checks: amount bound, clip / more than
/// sold / more than raised, zero, slippage. What a trader receives is floored, what a trader pays
/// is
/// ceiled. Python twin: `curves/trade.py`, to the wei and to the error.
library TradeMath {
    using CurveMath for ILaunchpad.CurveConfig;
    using Fees for Fees.Rates;

    /// @dev As a greatest amount to pay: no bound, so no refund either.
    uint256 internal constant UNBOUNDED = type(uint256).max;

    /// @dev A market at one block.
    struct Market {
        ILaunchpad.CurveConfig config;
        Fees.Rates rates;
        uint256 sold;
        uint256 raised;
    }

    /// @dev Spends up to `value`. The bound of a clipped buy is its price:
    /// tokens * value >= minTokens * spent, divided here since `minTokens` may be any word.
    function buyExactIn(Market memory market, uint256 value, uint256 minTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(value);
        uint256 tokens = market.config.curveSupply - market.sold;
        uint256 curveEth = market.config.ethForTokensRoundingUp(market.sold, market.raised, tokens);
        uint256 spent = value;
        uint256 net = market.rates.netRoundingDown(value);
        bool clipped = net >= curveEth;
        if (clipped) {
            spent = market.rates.grossRoundingUp(curveEth);
        } else {
            curveEth = net;
            tokens = market.config.tokensForEthRoundingDown(market.sold, market.raised, net);
        }
        if (value == 0 || tokens == 0) revert ILaunchpad.ZeroOutput();
        if (minTokens > tokens * value / spent) {
            revert ILaunchpad.SlippageExceeded(tokens, minTokens);
        }
        return _bought(market, tokens, spent, curveEth, value - spent, clipped);
    }

    /// @dev Buys `wanted`, or what is left if that is less and at least `minTokens`.
    function buyExactOut(Market memory market, uint256 wanted, uint256 maxValue, uint256 minTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(wanted);
        if (maxValue != UNBOUNDED) _checkAmount(maxValue);
        uint256 tokens = market.config.curveSupply - market.sold;
        bool clipped = wanted > tokens;
        if (!clipped) tokens = wanted;
        uint256 curveEth = market.config.ethForTokensRoundingUp(market.sold, market.raised, tokens);
        uint256 spent = market.rates.grossRoundingUp(curveEth);
        if (tokens == 0 || curveEth == 0) revert ILaunchpad.ZeroOutput();
        if (tokens < minTokens) revert ILaunchpad.SlippageExceeded(tokens, minTokens);
        if (spent > maxValue) revert ILaunchpad.SlippageExceeded(spent, maxValue);
        uint256 refund = maxValue == UNBOUNDED ? 0 : maxValue - spent;
        return _bought(market, tokens, spent, curveEth, refund, clipped);
    }

    function sellExactIn(Market memory market, uint256 tokens, uint256 minEth)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(tokens);
        if (tokens > market.sold) revert ILaunchpad.ExceedsSold(tokens, market.sold);
        uint256 curveEth =
            market.config.proceedsOfTokensRoundingDown(market.sold, market.raised, tokens);
        uint256 eth = market.rates.netRoundingDown(curveEth);
        if (tokens == 0 || eth == 0) revert ILaunchpad.ZeroOutput();
        if (eth < minEth) revert ILaunchpad.SlippageExceeded(eth, minEth);
        return _sold(market, tokens, eth, curveEth);
    }

    /// @dev Pays exactly `eth` after fees.
    function sellExactOut(Market memory market, uint256 eth, uint256 maxTokens)
        internal
        pure
        returns (ILaunchpad.TradeQuote memory)
    {
        _checkAmount(eth);
        uint256 curveEth = market.rates.grossRoundingUp(eth);
        uint256 tokens =
            market.config.tokensForProceedsRoundingUp(market.sold, market.raised, curveEth);
        if (eth == 0 || tokens == 0) revert ILaunchpad.ZeroOutput();
        if (tokens > maxTokens) revert ILaunchpad.SlippageExceeded(tokens, maxTokens);
        return _sold(market, tokens, eth, curveEth);
    }

    function _checkAmount(uint256 amount) private pure {
        if (amount > CurveMath.AMOUNT_MAX) revert ILaunchpad.AmountTooLarge(amount);
    }

    function _bought(
        Market memory market,
        uint256 tokens,
        uint256 spent,
        uint256 curveEth,
        uint256 refund,
        bool clipped
    ) private pure returns (ILaunchpad.TradeQuote memory result) {
        (result.protocolFee, result.creatorFee, result.launchFee) =
            market.rates.split(spent, curveEth);
        result.tokens = tokens;
        result.eth = spent;
        result.curveEth = curveEth;
        result.refund = refund;
        result.clipped = clipped;
        result.sold = market.sold + tokens;
        result.raised = market.raised + curveEth;
    }

    function _sold(Market memory market, uint256 tokens, uint256 eth, uint256 curveEth)
        private
        pure
        returns (ILaunchpad.TradeQuote memory result)
    {
        (result.protocolFee, result.creatorFee, result.launchFee) =
            market.rates.split(curveEth, eth);
        result.tokens = tokens;
        result.eth = eth;
        result.curveEth = curveEth;
        result.sold = market.sold - tokens;
        result.raised = market.raised - curveEth;
    }
}
