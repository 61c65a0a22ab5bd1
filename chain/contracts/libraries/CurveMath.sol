// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ILaunchpad} from "../ILaunchpad.sol";
import {ConstantProduct} from "../curves/ConstantProduct.sol";
import {Linear} from "../curves/Linear.sol";

/// @title CurveMath
/// @notice One curve, whatever its family, and the rules that a configuration must keep.
library CurveMath {
    uint256 internal constant TOTAL_SUPPLY = 1e27;
    uint256 internal constant AMOUNT_MAX = type(uint112).max;
    /// @dev Of either side of the pool: far above the liquidity that a pair keeps for itself, and
    /// a rounding of one unit stays below a millionth of the price.
    uint256 internal constant POOL_AMOUNT_MIN = 1e6;

    function tokensForEthRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 eth
    ) internal pure returns (uint256) {
        if (config.family == ILaunchpad.Family.Linear) {
            return Linear.tokensForEthRoundingDown(config, sold, eth);
        }
        return ConstantProduct.tokensForEthRoundingDown(config, sold, raised, eth);
    }

    function ethForTokensRoundingUp(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 tokens
    ) internal pure returns (uint256) {
        if (config.family == ILaunchpad.Family.Linear) {
            return Linear.ethForTokensRoundingUp(config, sold, tokens);
        }
        return ConstantProduct.ethForTokensRoundingUp(config, sold, raised, tokens);
    }

    function proceedsOfTokensRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 tokens
    ) internal pure returns (uint256) {
        if (config.family == ILaunchpad.Family.Linear) {
            return Linear.proceedsOfTokensRoundingDown(config, sold, tokens);
        }
        return ConstantProduct.proceedsOfTokensRoundingDown(config, sold, raised, tokens);
    }

    function tokensForProceedsRoundingUp(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised,
        uint256 eth
    ) internal pure returns (uint256) {
        if (config.family == ILaunchpad.Family.Linear) {
            return Linear.tokensForProceedsRoundingUp(config, sold, raised, eth);
        }
        return ConstantProduct.tokensForProceedsRoundingUp(config, sold, raised, eth);
    }

    /// @dev What the pool gets beside `raised` at the last price. The dust that roundings left in
    /// `raised` can pass the share that a configuration was checked for: bounded by it, which only
    /// raises the opening price.
    function poolTokensRoundingDown(
        ILaunchpad.CurveConfig memory config,
        uint256 sold,
        uint256 raised
    ) internal pure returns (uint256) {
        (uint256 numerator, uint256 denominator) = _priceFraction(config, sold, raised);
        return Math.min(raised * denominator / numerator, config.poolSupply);
    }

    /// @dev Reverts unless every trade stays inside 256 bits, the pool's share covers what the
    /// curve raised at its last price (compared by cross-multiplication), and the pair can mint.
    function check(ILaunchpad.CurveConfig memory config) internal pure {
        uint256 curveSupply = config.curveSupply;
        if (
            config.a == 0 || config.b == 0 || curveSupply == 0
                || curveSupply + config.poolSupply != TOTAL_SUPPLY || !_withinBounds(config)
        ) revert ILaunchpad.InvalidCurve();
        uint256 raised = ethForTokensRoundingUp(config, 0, 0, curveSupply);
        if (raised > AMOUNT_MAX || raised < POOL_AMOUNT_MIN) revert ILaunchpad.InvalidCurve();
        (uint256 numerator, uint256 denominator) = _priceFraction(config, curveSupply, raised);
        uint256 needed = raised * denominator;
        if (needed > config.poolSupply * numerator || needed < POOL_AMOUNT_MIN * numerator) {
            revert ILaunchpad.InvalidCurve();
        }
    }

    function _withinBounds(ILaunchpad.CurveConfig memory config) private pure returns (bool) {
        if (config.family == ILaunchpad.Family.ConstantProduct) {
            return config.b > config.curveSupply;
        }
        return config.a * Linear.U + uint256(config.b) * config.curveSupply <= type(uint128).max;
    }

    function _priceFraction(ILaunchpad.CurveConfig memory config, uint256 sold, uint256 raised)
        private
        pure
        returns (uint256, uint256)
    {
        if (config.family == ILaunchpad.Family.Linear) return Linear.priceFraction(config, sold);
        return ConstantProduct.reserves(config, sold, raised);
    }
}
