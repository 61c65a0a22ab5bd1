// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ILaunchpad} from "../ILaunchpad.sol";

/// @title Linear
/// @notice Every token sold raises the price by the same step. The cost depends on `sold` only
/// (with
/// `raised` as the base a round trip would take dust); raised*D - area(0, sold) never falls.
/// A configuration keeps a*U + b*curveSupply < 2^128, so no product here leaves 256 bits.
/// Python twin: `curves/linear.py`.
library Linear {
    uint256 internal constant U = 1e24;
    uint256 internal constant D = 2e42;

    /// @dev Only for `eth` below what is needed to end the curve: the bound of the products.
    function tokensForEthRoundingDown(
        ILaunchpad.CurveConfig memory config, uint256 sold, uint256 eth
    )
        internal
        pure
        returns (uint256)
    {
        return _inverseRoundingDown(config, _area(config, 0, sold) + eth * D) - sold;
    }

    function ethForTokensRoundingUp(
        ILaunchpad.CurveConfig memory config, uint256 sold, uint256 tokens
    )
        internal
        pure
        returns (uint256)
    {
        return Math.ceilDiv(_area(config, sold, tokens), D);
    }

    function proceedsOfTokensRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 tokens
    ) internal pure returns (uint256) {
        return _area(config, sold - tokens, tokens) / D;
    }

    function tokensForProceedsRoundingUp(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 eth
    ) internal pure returns (uint256) {
        uint256 area = _area(config, 0, sold);
        if (eth > raised || eth * D > area) revert ILaunchpad.ExceedsRaised(eth, raised);
        return sold - _inverseRoundingDown(config, area - eth * D);
    }

    /// @dev The price in wei a token-wei, the derivative of the area.
    function priceFraction(ILaunchpad.CurveConfig memory config, uint256 sold)
        internal
        pure
        returns (uint256 numerator, uint256 denominator)
    {
        return (config.a * U + config.b * sold, D / 2);
    }

    /// @dev D times the wei between `sold` and `sold + tokens`, exact.
    function _area(ILaunchpad.CurveConfig memory config, uint256 sold, uint256 tokens)
        private
        pure
        returns (uint256)
    {
        return tokens * (config.b * (2 * sold + tokens) + 2 * config.a * U);
    }

    function _inverseRoundingDown(ILaunchpad.CurveConfig memory config, uint256 area)
        private
        pure
        returns (uint256)
    {
        uint256 base = config.a * U;
        return (Math.sqrt(base * base + config.b * area) - base) / config.b;
    }
}
