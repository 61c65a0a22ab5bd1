// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ILaunchpad} from "../ILaunchpad.sol";

/// @title ConstantProduct
/// @notice Virtual reserves x = a + raised (wei), y = b - sold (token-wei). Reserves move by
/// exactly
/// what is traded and are never recomputed from k, so x*y never falls.
/// Python twin: `curves/constant_product.py`.
library ConstantProduct {
    function tokensForEthRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 eth
    ) internal pure returns (uint256) {
        (uint256 x, uint256 y) = reserves(config, sold, raised);
        return y * eth / (x + eth);
    }

    function ethForTokensRoundingUp(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 tokens
    ) internal pure returns (uint256) {
        (uint256 x, uint256 y) = reserves(config, sold, raised);
        return Math.ceilDiv(x * tokens, y - tokens);
    }

    function proceedsOfTokensRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 tokens
    ) internal pure returns (uint256) {
        (uint256 x, uint256 y) = reserves(config, sold, raised);
        return x * tokens / (y + tokens);
    }

    function tokensForProceedsRoundingUp(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 eth
    ) internal pure returns (uint256 tokens) {
        (uint256 x, uint256 y) = reserves(config, sold, raised);
        if (eth > raised) revert ILaunchpad.ExceedsRaised(eth, raised);
        tokens = Math.ceilDiv(y * eth, x - eth);
        if (tokens > sold) revert ILaunchpad.ExceedsRaised(eth, raised);
    }

    /// @dev Also the price in wei a token-wei, as x / y.
    function reserves(ILaunchpad.CurveConfig memory config, uint256 sold, uint256 raised)
        internal
        pure
        returns (uint256 x, uint256 y)
    {
        return (config.a + raised, config.b - sold);
    }
}
