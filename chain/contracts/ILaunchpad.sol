// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title ILaunchpad
/// @notice Tokens launched on a bonding curve. All ETH amounts are wei, all token amounts
/// token-wei (18 decimals). Every event carries `eventSeq`, which counts the launchpad's
/// events from 1 without a gap, so that a missing log can be proved; events about a token
/// carry `seq`, which does the same for the token (`TokenCreated` is 1). Nothing moves ETH
/// or changes a parameter without an event.
interface ILaunchpad {
    // ---------------------------------------------------------------- errors

    /// @dev The order of checks of a trade is: deadline, recipient, token, phase, amount
    /// bound, clip / more than sold / more than raised, zero, slippage.
    error Expired(uint256 deadline, uint256 timestamp);
    error InvalidRecipient(address recipient);
    error UnknownToken(address token);
    error MarketNotOpen(address token, Phase phase);
    error AmountTooLarge(uint256 amount);
    error ExceedsSold(uint256 tokens, uint256 sold);
    error ExceedsRaised(uint256 eth, uint256 raised);
    error ZeroOutput();
    error SlippageExceeded(uint256 actual, uint256 bound);
    error LaunchesPaused();
    error InvalidText();
    error InvalidCurve();
    error UnknownCurve(uint256 curveId);
    error InvalidFees(uint256 totalBps);
    error Unauthorized(address caller);
    error TransferFailed(address to, uint256 amount);
    error TooEarly(uint256 allowedAt, uint256 timestamp);

    // ----------------------------------------------------------------- types

    /// @dev `Curve`: buys and sells. `Graduating`: sold out, nothing. `Graduated`: buys and sells
    /// on the pair. `Reopened`: graduation did not come, sells only.
    enum Phase {
        None,
        Curve,
        Graduating,
        Graduated,
        Reopened
    }

    enum Family {
        ConstantProduct,
        Linear
    }

    /// @dev ConstantProduct: `a` virtual ETH (wei), `b` virtual tokens (token-wei).
    /// Linear: `a` start price (wei a whole token), `b` step (1e-6 wei a whole token squared).
    struct CurveConfig {
        Family family;
        uint128 a;
        uint128 b;
        uint128 curveSupply;
        uint128 poolSupply;
    }

    /// @dev Basis points; `poolProtocolBps` and `poolCreatorBps` hold after graduation.
    struct FeeConfig {
        uint16 protocolBps;
        uint16 creatorBps;
        uint16 launchBps;
        uint16 launchBlocks;
        uint16 poolProtocolBps;
        uint16 poolCreatorBps;
    }

    /// @dev `sold` and `raised` are the curve's, which rest once it is graduated; `completedAt` is
    /// when it was sold out (unix seconds, 0 before). The reserves are the pair's, 0 before it is
    /// graduated: what a stranger put there does not count.
    struct MarketState {
        Phase phase;
        uint256 curveId;
        uint256 sold;
        uint256 raised;
        uint256 seq;
        uint256 launchBlock;
        uint256 completedAt;
        address creator;
        address pair;
        uint256 reserveToken;
        uint256 reserveWeth;
        FeeConfig fees;
    }

    /// @dev Buy: `eth` is what is spent in all. Sell: what is received after fees. `curveEth`
    /// enters or leaves the curve or the pair; `sold` and `raised` are as in `Trade`.
    struct TradeQuote {
        uint256 tokens;
        uint256 eth;
        uint256 curveEth;
        uint256 protocolFee;
        uint256 creatorFee;
        uint256 launchFee;
        uint256 refund;
        uint256 sold;
        uint256 raised;
        bool clipped;
    }

    struct CreateParams {
        string name;
        string symbol;
        bytes32 metadataHash;
        bytes32 salt;
        uint256 curveId;
        uint256 minTokens;
        uint256 deadline;
        bytes32 tag;
    }

    // ---------------------------------------------------------------- events

    event CurveAdded(
        uint256 eventSeq,
        uint256 indexed curveId,
        Family family,
        uint256 a,
        uint256 b,
        uint256 curveSupply,
        uint256 poolSupply
    );

    event TokenCreated(
        address indexed token,
        address indexed creator,
        uint256 eventSeq,
        uint256 seq,
        address pair,
        bool pairPreexisted,
        uint256 curveId,
        CurveConfig curve,
        FeeConfig fees,
        bytes32 metadataHash,
        string name,
        string symbol
    );

    /// @dev `venue`: 0 curve, 1 pool. `requested` is the amount argument of the call:
    /// msg.value of an exact-in buy, tokens of an exact-out buy or exact-in sell, ETH of an
    /// exact-out sell. `sold` and `raised` are the state after: on the pool the pair's reserves of
    /// the token and of WETH.
    event Trade(
        address indexed token,
        address indexed trader,
        address indexed recipient,
        uint256 eventSeq,
        uint256 seq,
        bool isBuy,
        bool exactOut,
        uint8 venue,
        bytes32 tag,
        uint256 requested,
        uint256 tokens,
        uint256 curveEth,
        uint256 protocolFee,
        uint256 creatorFee,
        uint256 launchFee,
        uint256 refund,
        uint256 sold,
        uint256 raised,
        bool clipped
    );

    event Completed(
        address indexed token, uint256 eventSeq, uint256 seq, uint256 sold, uint256 raised
    );

    event Reopened(address indexed token, uint256 eventSeq, uint256 seq);

    /// @dev `donatedWeth` stood in the pair's reserves before; `burned` tokens were left over. The
    /// reserves are the pair's right after.
    event Graduated(
        address indexed token,
        address indexed pair,
        uint256 eventSeq,
        uint256 seq,
        uint256 ethToPool,
        uint256 tokensToPool,
        uint256 burned,
        uint256 liquidity,
        uint256 donatedWeth,
        uint256 reserveToken,
        uint256 reserveWeth
    );

    event ProtocolFeesClaimed(uint256 eventSeq, address indexed recipient, uint256 amount);
    event CreatorFeesClaimed(
        uint256 eventSeq, address indexed creator, address indexed recipient, uint256 amount
    );
    event FeesChanged(uint256 eventSeq, FeeConfig fees);
    event LaunchesPausedChanged(uint256 eventSeq, bool paused);
    event OwnerProposed(uint256 eventSeq, address indexed owner, address indexed proposed);
    event OwnerChanged(uint256 eventSeq, address indexed previous, address indexed owner);

    // ------------------------------------------------------------- functions

    /// @notice Launches a token and, with value, makes the first buy (exempt from the launch fee).
    /// The token's address is CREATE2 with salt keccak256(abi.encode(msg.sender, salt)).
    function create(CreateParams calldata params)
        external
        payable
        returns (address token, uint256 tokens);

    /// @notice Exact-in buy; clipped at the end of the curve and refunded to the caller. The bound
    /// of a clipped buy is its price: tokens * value >= minTokens * spent.
    function buy(address token, uint256 minTokens, address recipient, uint256 deadline, bytes32 tag)
        external
        payable
        returns (uint256 tokens, uint256 spent);

    /// @notice Exact-out buy; msg.value is the most to pay, the rest is refunded. Above what is
    /// left it gives what is left, if that is at least `minTokens`.
    function buyExactOut(
        address token,
        uint256 tokens,
        uint256 minTokens,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external payable returns (uint256 bought, uint256 spent);

    /// @notice Exact-in sell. Tokens are pulled from the caller, by the token's standing allowance.
    function sell(
        address token,
        uint256 tokens,
        uint256 minEth,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external returns (uint256 eth);

    /// @notice Exact-out sell: `eth` is what the recipient receives after fees.
    function sellExactOut(
        address token,
        uint256 eth,
        uint256 maxTokens,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external returns (uint256 tokens);

    /// @notice Opens the pool of a sold-out curve; anybody, once.
    function graduate(address token) external;

    /// @notice Lets sells resume where graduation has not come for 7 days; anybody.
    function reopen(address token) external;

    /// @notice The quote of a trade mined in `atBlock` on the present state, with no bound. Reverts
    /// with the same errors, in the same order, as the trade.
    function quote(address token, bool isBuy, bool exactOut, uint256 amount, uint256 atBlock)
        external
        view
        returns (TradeQuote memory);

    function market(address token) external view returns (MarketState memory);

    function curve(uint256 curveId) external view returns (CurveConfig memory);

    function tokenAddress(address creator, bytes32 salt) external view returns (address);
}
