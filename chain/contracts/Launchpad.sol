// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ILaunchpad} from "./ILaunchpad.sol";
import {LaunchToken} from "./LaunchToken.sol";
import {CurveMath} from "./libraries/CurveMath.sol";
import {Fees} from "./libraries/Fees.sol";
import {TradeMath} from "./libraries/TradeMath.sol";

interface IPairFactory {
    function getPair(address tokenA, address tokenB) external view returns (address);
    function createPair(address tokenA, address tokenB) external returns (address);
}

/// @title Launchpad
/// @notice Version 1: launches and trades on the curve. ETH leaves by a sell, a refund or a claim
/// of
/// earned fees only; no role can reach what the curves raised. All accounting is internal, balances
/// are never read, so nothing that is sent here by force changes a price.
contract Launchpad is ILaunchpad, ReentrancyGuardTransient {
    /// @dev Text bounds are bytes.
    uint256 private constant NAME_BYTES_MAX = 200;
    uint256 private constant SYMBOL_BYTES_MAX = 40;
    uint8 private constant VENUE_CURVE = 0;

    struct Record {
        uint128 sold;
        uint128 raised;
        address creator;
        Phase phase;
        uint64 seq;
        address pair;
        uint64 launchBlock;
        uint32 curveId;
        FeeConfig fees;
    }

    /// @dev What a caller asked for, as `Trade` reports it.
    struct Order {
        address token;
        address recipient;
        bool isBuy;
        bool exactOut;
        bytes32 tag;
        uint256 requested;
    }

    address public immutable factory;
    address public immutable weth;
    address public immutable tokenImplementation;
    /// @notice Where following this launchpad's events begins.
    uint256 public immutable firstBlock;

    address public owner;
    address public pendingOwner;
    /// @notice Counts events from 1 without a gap.
    uint64 public eventSeq;
    uint128 public protocolFees;
    bool public launchesPaused;
    FeeConfig private _fees;
    uint256 public curveCount;
    mapping(uint256 curveId => CurveConfig) private _curves;
    mapping(address token => Record) private _records;
    mapping(address creator => uint256) public creatorFees;

    modifier onlyOwner() {
        if (msg.sender != owner) revert Unauthorized(msg.sender);
        _;
    }

    constructor(
        address factory_,
        address weth_,
        address owner_,
        FeeConfig memory fees_,
        CurveConfig[] memory curves_
    ) {
        factory = factory_;
        weth = weth_;
        tokenImplementation = address(new LaunchToken());
        firstBlock = block.number;
        owner = owner_;
        emit OwnerChanged(_nextEventSeq(), address(0), owner_);
        _setFees(fees_);
        for (uint256 i = 0; i < curves_.length; ++i) {
            _addCurve(curves_[i]);
        }
    }

    // ---------------------------------------------------------------- trades

    /// @inheritdoc ILaunchpad
    function create(CreateParams calldata params)
        external
        payable
        nonReentrant
        returns (address token, uint256 tokens)
    {
        _checkDeadline(params.deadline);
        _checkLaunch(params);
        token = Clones.cloneDeterministic(tokenImplementation, _salt(msg.sender, params.salt));
        Record storage record = _launch(token, params);
        if (msg.value == 0) {
            if (params.minTokens != 0) revert SlippageExceeded(0, params.minTokens);
            return (token, 0);
        }
        TradeMath.Market memory state = _state(record, Fees.withoutLaunch(record.fees));
        TradeQuote memory given = TradeMath.buyExactIn(state, msg.value, params.minTokens);
        _settle(record, Order(token, msg.sender, true, false, params.tag, msg.value), given);
        return (token, given.tokens);
    }

    /// @inheritdoc ILaunchpad
    function buy(address token, uint256 minTokens, address recipient, uint256 deadline, bytes32 tag)
        external
        payable
        nonReentrant
        returns (uint256, uint256)
    {
        Record storage record = _tradable(token, recipient, deadline);
        TradeQuote memory given = TradeMath.buyExactIn(_now(record), msg.value, minTokens);
        _settle(record, Order(token, recipient, true, false, tag, msg.value), given);
        return (given.tokens, given.eth);
    }

    /// @inheritdoc ILaunchpad
    function buyExactOut(
        address token,
        uint256 tokens,
        uint256 minTokens,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external payable nonReentrant returns (uint256, uint256) {
        Record storage record = _tradable(token, recipient, deadline);
        TradeQuote memory given =
            TradeMath.buyExactOut(_now(record), tokens, msg.value, minTokens);
        _settle(record, Order(token, recipient, true, true, tag, tokens), given);
        return (given.tokens, given.eth);
    }

    /// @inheritdoc ILaunchpad
    function sell(
        address token,
        uint256 tokens,
        uint256 minEth,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external nonReentrant returns (uint256) {
        Record storage record = _tradable(token, recipient, deadline);
        TradeQuote memory given = TradeMath.sellExactIn(_now(record), tokens, minEth);
        _settle(record, Order(token, recipient, false, false, tag, tokens), given);
        return given.eth;
    }

    /// @inheritdoc ILaunchpad
    function sellExactOut(
        address token,
        uint256 eth,
        uint256 maxTokens,
        address recipient,
        uint256 deadline,
        bytes32 tag
    ) external nonReentrant returns (uint256) {
        Record storage record = _tradable(token, recipient, deadline);
        TradeQuote memory given = TradeMath.sellExactOut(_now(record), eth, maxTokens);
        _settle(record, Order(token, recipient, false, true, tag, eth), given);
        return given.tokens;
    }

    // ------------------------------------------------------------------ fees

    /// @notice Pays the protocol and launch fees earned so far; by the owner.
    function claimProtocolFees(address recipient) external onlyOwner nonReentrant {
        if (recipient == address(0)) revert InvalidRecipient(recipient);
        uint256 amount = protocolFees;
        protocolFees = 0;
        emit ProtocolFeesClaimed(_nextEventSeq(), recipient, amount);
        _send(recipient, amount);
    }

    /// @notice Pays the caller's creator fees, of all tokens of the caller together.
    function claimCreatorFees(address recipient) external nonReentrant {
        if (recipient == address(0)) revert InvalidRecipient(recipient);
        uint256 amount = creatorFees[msg.sender];
        creatorFees[msg.sender] = 0;
        emit CreatorFeesClaimed(_nextEventSeq(), msg.sender, recipient, amount);
        _send(recipient, amount);
    }

    // ----------------------------------------------------------------- owner

    /// @notice Adds a configuration, immutable from then on.
    function addCurve(CurveConfig calldata config) external onlyOwner returns (uint256 curveId) {
        return _addCurve(config);
    }

    /// @notice Fees of later launches; those of a launched token are frozen.
    function setFees(FeeConfig calldata fees_) external onlyOwner {
        _setFees(fees_);
    }

    /// @notice Stops or allows new launches; trades are never stopped.
    function setLaunchesPaused(bool paused) external onlyOwner {
        launchesPaused = paused;
        emit LaunchesPausedChanged(_nextEventSeq(), paused);
    }

    /// @notice First step of two; `address(0)` takes the proposal back.
    function proposeOwner(address proposed) external onlyOwner {
        pendingOwner = proposed;
        emit OwnerProposed(_nextEventSeq(), owner, proposed);
    }

    function acceptOwner() external {
        if (msg.sender != pendingOwner) revert Unauthorized(msg.sender);
        emit OwnerChanged(_nextEventSeq(), owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }

    // ----------------------------------------------------------------- views

    /// @inheritdoc ILaunchpad
    function quote(address token, bool isBuy, bool exactOut, uint256 amount, uint256 atBlock)
        external
        view
        returns (TradeQuote memory)
    {
        Record storage record = _records[token];
        _checkOpen(token, record);
        TradeMath.Market memory state =
            _state(record, Fees.ratesAt(record.fees, record.launchBlock, atBlock));
        if (isBuy) {
            return exactOut
                ? TradeMath.buyExactOut(state, amount, TradeMath.UNBOUNDED, 0)
                : TradeMath.buyExactIn(state, amount, 0);
        }
        return exactOut
            ? TradeMath.sellExactOut(state, amount, type(uint256).max)
            : TradeMath.sellExactIn(state, amount, 0);
    }

    /// @inheritdoc ILaunchpad
    function market(address token) external view returns (MarketState memory) {
        Record storage record = _records[token];
        return MarketState({
            phase: record.phase,
            curveId: record.curveId,
            sold: record.sold,
            raised: record.raised,
            seq: record.seq,
            launchBlock: record.launchBlock,
            creator: record.creator,
            pair: record.pair,
            fees: record.fees
        });
    }

    /// @inheritdoc ILaunchpad
    function curve(uint256 curveId) external view returns (CurveConfig memory) {
        if (curveId >= curveCount) revert UnknownCurve(curveId);
        return _curves[curveId];
    }

    /// @notice The fees of the next launch.
    function fees() external view returns (FeeConfig memory) {
        return _fees;
    }

    /// @inheritdoc ILaunchpad
    function tokenAddress(address creator, bytes32 salt) external view returns (address) {
        return Clones.predictDeterministicAddress(tokenImplementation, _salt(creator, salt));
    }

    // -------------------------------------------------------------- launches

    function _checkLaunch(CreateParams calldata params) private view {
        if (launchesPaused) revert LaunchesPaused();
        uint256 nameBytes = bytes(params.name).length;
        uint256 symbolBytes = bytes(params.symbol).length;
        if (
            nameBytes == 0 || nameBytes > NAME_BYTES_MAX || symbolBytes == 0
                || symbolBytes > SYMBOL_BYTES_MAX
        ) revert InvalidText();
        if (params.curveId >= curveCount) revert UnknownCurve(params.curveId);
    }

    /// @dev `TokenCreated` stands before the token's first `Transfer`, so that a reader of logs
    /// knows the token when it comes.
    function _launch(address token, CreateParams calldata params)
        private
        returns (Record storage record)
    {
        address pair = IPairFactory(factory).getPair(token, weth);
        bool preexisted = pair != address(0);
        if (!preexisted) pair = IPairFactory(factory).createPair(token, weth);
        record = _records[token];
        record.creator = msg.sender;
        record.phase = Phase.Curve;
        record.seq = 1;
        record.pair = pair;
        record.launchBlock = uint64(block.number);
        record.curveId = uint32(params.curveId);
        record.fees = _fees;
        emit TokenCreated({
            token: token,
            creator: msg.sender,
            eventSeq: _nextEventSeq(),
            seq: 1,
            pair: pair,
            pairPreexisted: preexisted,
            curveId: params.curveId,
            curve: _curves[params.curveId],
            fees: record.fees,
            metadataHash: params.metadataHash,
            name: params.name,
            symbol: params.symbol
        });
        LaunchToken(token).initialise(params.name, params.symbol, pair);
    }

    function _salt(address creator, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(creator, salt));
    }

    // ---------------------------------------------------------------- trades

    function _checkDeadline(uint256 deadline) private view {
        if (block.timestamp > deadline) revert Expired(deadline, block.timestamp);
    }

    function _checkOpen(address token, Record storage record) private view {
        Phase phase = record.phase;
        if (phase == Phase.None) revert UnknownToken(token);
        if (phase != Phase.Curve) revert MarketNotOpen(token, phase);
    }

    function _tradable(address token, address recipient, uint256 deadline)
        private
        view
        returns (Record storage record)
    {
        _checkDeadline(deadline);
        record = _records[token];
        if (
            recipient == address(0) || recipient == token || recipient == record.pair
                || recipient == address(this) || recipient == weth
        ) revert InvalidRecipient(recipient);
        _checkOpen(token, record);
    }

    function _now(Record storage record) private view returns (TradeMath.Market memory) {
        return _state(record, Fees.ratesAt(record.fees, record.launchBlock, block.number));
    }

    function _state(Record storage record, Fees.Rates memory rates)
        private
        view
        returns (TradeMath.Market memory)
    {
        return TradeMath.Market(_curves[record.curveId], rates, record.sold, record.raised);
    }

    /// @dev State, events, tokens, then ETH: whoever is called sees the trade done.
    function _settle(Record storage record, Order memory order, TradeQuote memory given) private {
        record.sold = uint128(given.sold);
        record.raised = uint128(given.raised);
        protocolFees += uint128(given.protocolFee + given.launchFee);
        creatorFees[record.creator] += given.creatorFee;
        _emitTrade(++record.seq, order, given);
        if (order.isBuy && given.sold == _curves[record.curveId].curveSupply) {
            record.phase = Phase.Graduating;
            emit Completed(
                order.token, _nextEventSeq(), ++record.seq, given.sold, given.raised
            );
        }
        if (order.isBuy) {
            LaunchToken(order.token).transfer(order.recipient, given.tokens);
            if (given.refund != 0) _send(msg.sender, given.refund);
        } else {
            LaunchToken(order.token).transferFrom(msg.sender, address(this), given.tokens);
            _send(order.recipient, given.eth);
        }
    }

    function _emitTrade(uint256 seq, Order memory order, TradeQuote memory given) private {
        emit Trade({
            token: order.token,
            trader: msg.sender,
            recipient: order.recipient,
            eventSeq: _nextEventSeq(),
            seq: seq,
            isBuy: order.isBuy,
            exactOut: order.exactOut,
            venue: VENUE_CURVE,
            tag: order.tag,
            requested: order.requested,
            tokens: given.tokens,
            curveEth: given.curveEth,
            protocolFee: given.protocolFee,
            creatorFee: given.creatorFee,
            launchFee: given.launchFee,
            refund: given.refund,
            sold: given.sold,
            raised: given.raised,
            clipped: given.clipped
        });
    }

    // ---------------------------------------------------------------- common

    function _addCurve(CurveConfig memory config) private returns (uint256 curveId) {
        CurveMath.check(config);
        curveId = curveCount++;
        _curves[curveId] = config;
        emit CurveAdded(
            _nextEventSeq(),
            curveId,
            config.family,
            config.a,
            config.b,
            config.curveSupply,
            config.poolSupply
        );
    }

    function _setFees(FeeConfig memory fees_) private {
        Fees.check(fees_);
        _fees = fees_;
        emit FeesChanged(_nextEventSeq(), fees_);
    }

    function _nextEventSeq() private returns (uint256) {
        return ++eventSeq;
    }

    function _send(address to, uint256 amount) private {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(to, amount);
    }
}
