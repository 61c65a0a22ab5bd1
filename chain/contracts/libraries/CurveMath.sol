// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "../ILaunchpad.sol";
import {ConstantProduct} from "../curves/ConstantProduct.sol";
import {Linear} from "../curves/Linear.sol";

/// @title CurveMath
/// @notice One curve, whatever its family, and the rules that a configuration must keep.
library CurveMath {
    uint256 internal constant TOTAL_SUPPLY = 1e27;
    uint256 internal constant AMOUNT_MAX = type(uint112).max;

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

    /// @dev Reverts unless every trade stays inside 256 bits and the pool's share covers what the
    /// curve raised at its last price (compared by cross-multiplication).
    function check(ILaunchpad.CurveConfig memory config) internal pure {
        uint256 curveSupply = config.curveSupply;
        if (
            config.a == 0 || config.b == 0 || curveSupply == 0
                || curveSupply + config.poolSupply != TOTAL_SUPPLY || !_withinBounds(config)
        ) revert ILaunchpad.InvalidCurve();
        uint256 raised = ethForTokensRoundingUp(config, 0, 0, curveSupply);
        if (raised > AMOUNT_MAX) revert ILaunchpad.InvalidCurve();
        (uint256 numerator, uint256 denominator) = _priceFraction(config, curveSupply, raised);
        if (raised * denominator > config.poolSupply * numerator) revert ILaunchpad.InvalidCurve();
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
