// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "chain/contracts/ILaunchpad.sol";
import {CurveMath} from "chain/contracts/libraries/CurveMath.sol";
import {Fees} from "chain/contracts/libraries/Fees.sol";
import {PoolMath} from "chain/contracts/libraries/PoolMath.sol";
import {TradeMath} from "chain/contracts/libraries/TradeMath.sol";

/// @notice For tests: the launchpad's own libraries on any state, many cases in one call.
contract TradeHarness {
    enum Kind {
        BuyExactIn,
        BuyExactOut,
        SellExactIn,
        SellExactOut
    }

    /// @dev `bound`: least tokens, most ETH, least ETH, most tokens. `minTokens`: exact-out buys.
    struct Case {
        Kind kind;
        ILaunchpad.CurveConfig config;
        ILaunchpad.FeeConfig fees;
        uint256 launchBlock;
        uint256 atBlock;
        bool exempt;
        uint256 sold;
        uint256 raised;
        uint256 amount;
        uint256 bound;
        uint256 minTokens;
    }

    struct PoolCase {
        Kind kind;
        ILaunchpad.FeeConfig fees;
        uint256 reserveToken;
        uint256 reserveWeth;
        uint256 amount;
        uint256 bound;
        uint256 minTokens;
    }

    /// @dev `refusal` is the revert's selector, zero when the trade goes through.
    struct Outcome {
        bytes4 refusal;
        ILaunchpad.TradeQuote given;
    }

    function run(Case[] calldata cases) external view returns (Outcome[] memory outcomes) {
        outcomes = new Outcome[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            try this.one(cases[i]) returns (ILaunchpad.TradeQuote memory given) {
                outcomes[i].given = given;
            } catch (bytes memory reason) {
                outcomes[i].refusal = bytes4(reason);
            }
        }
    }

    function one(Case calldata each) external pure returns (ILaunchpad.TradeQuote memory) {
        ILaunchpad.FeeConfig memory fees = each.fees;
        TradeMath.Market memory market = TradeMath.Market(
            each.config,
            each.exempt
                ? Fees.withoutLaunch(fees)
                : Fees.ratesAt(fees, each.launchBlock, each.atBlock),
            each.sold,
            each.raised
        );
        if (each.kind == Kind.BuyExactIn) {
            return TradeMath.buyExactIn(market, each.amount, each.bound);
        }
        if (each.kind == Kind.BuyExactOut) {
            return TradeMath.buyExactOut(market, each.amount, each.bound, each.minTokens);
        }
        if (each.kind == Kind.SellExactIn) {
            return TradeMath.sellExactIn(market, each.amount, each.bound);
        }
        return TradeMath.sellExactOut(market, each.amount, each.bound);
    }

    function runPool(PoolCase[] calldata cases)
        external
        view
        returns (Outcome[] memory outcomes)
    {
        outcomes = new Outcome[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            try this.onePool(cases[i]) returns (ILaunchpad.TradeQuote memory given) {
                outcomes[i].given = given;
            } catch (bytes memory reason) {
                outcomes[i].refusal = bytes4(reason);
            }
        }
    }

    function onePool(PoolCase calldata each) external pure returns (ILaunchpad.TradeQuote memory) {
        PoolMath.Pool memory pool =
            PoolMath.Pool(Fees.poolRates(each.fees), each.reserveToken, each.reserveWeth);
        if (each.kind == Kind.BuyExactIn) {
            return PoolMath.buyExactIn(pool, each.amount, each.bound);
        }
        if (each.kind == Kind.BuyExactOut) {
            return PoolMath.buyExactOut(pool, each.amount, each.bound, each.minTokens);
        }
        if (each.kind == Kind.SellExactIn) {
            return PoolMath.sellExactIn(pool, each.amount, each.bound);
        }
        return PoolMath.sellExactOut(pool, each.amount, each.bound);
    }

    function check(ILaunchpad.CurveConfig calldata config) external pure {
        CurveMath.check(config);
    }
}
