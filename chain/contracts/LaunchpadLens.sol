// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ILaunchpad} from "./ILaunchpad.sol";

/// @title LaunchpadLens
/// @notice Many views of one block in one call, so that a check never mixes two states.
contract LaunchpadLens {
    struct QuoteArgs {
        address token;
        bool isBuy;
        bool exactOut;
        uint256 amount;
        uint256 atBlock;
    }

    /// @dev `result` is an encoded `ILaunchpad.TradeQuote` when `ok`, else the revert's data.
    struct QuoteResult {
        bool ok;
        bytes result;
    }

    /// @notice Phase `None` for a token that the launchpad does not know.
    function markets(address launchpad, address[] calldata tokens)
        external
        view
        returns (ILaunchpad.MarketState[] memory states)
    {
        states = new ILaunchpad.MarketState[](tokens.length);
        for (uint256 i = 0; i < tokens.length; ++i) {
            states[i] = ILaunchpad(launchpad).market(tokens[i]);
        }
    }

    function quotes(address launchpad, QuoteArgs[] calldata args)
        external
        view
        returns (QuoteResult[] memory results)
    {
        results = new QuoteResult[](args.length);
        for (uint256 i = 0; i < args.length; ++i) {
            QuoteArgs calldata each = args[i];
            (results[i].ok, results[i].result) = launchpad.staticcall(
                abi.encodeCall(
                    ILaunchpad.quote,
                    (each.token, each.isBuy, each.exactOut, each.amount, each.atBlock)
                )
            );
        }
    }
}
