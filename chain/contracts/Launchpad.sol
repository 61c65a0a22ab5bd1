// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Graduation} from "./Graduation.sol";
import {IPairFactory} from "./IExchange.sol";
import {ILaunchpad} from "./ILaunchpad.sol";
import {LaunchToken} from "./LaunchToken.sol";
import {LaunchpadBase} from "./LaunchpadBase.sol";
import {CurveMath} from "./libraries/CurveMath.sol";
import {Fees} from "./libraries/Fees.sol";
import {PoolMath} from "./libraries/PoolMath.sol";
import {TradeMath} from "./libraries/TradeMath.sol";

/// @title Launchpad
/// @notice Version 2: launches and trades on the curve, graduation, trades on the pair. ETH leaves
/// by a sell, a refund, a claim of earned fees or into the pair only; no role can reach what the
/// curves raised. All accounting is internal, balances are never read, so nothing that is sent here
/// by force changes a price.
contract Launchpad is Graduation {
    /// @dev Text bounds are bytes.
    uint256 private constant NAME_BYTES_MAX = 200;
    uint256 private constant SYMBOL_BYTES_MAX = 40;

    constructor(
        address factory_,
        address weth_,
        address owner_,
        FeeConfig memory fees_,
        CurveConfig[] memory curves_
    ) LaunchpadBase(factory_, weth_) {
        if (owner_ == address(0)) revert Unauthorized(owner_);
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
        Record storage record = _tradable(token, recipient, deadline, true);
        TradeQuote memory given = _onPool(record)
            ? PoolMath.buyExactIn(_pool(token, record), msg.value, minTokens)
            : TradeMath.buyExactIn(_now(record), msg.value, minTokens);
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
        Record storage record = _tradable(token, recipient, deadline, true);
        TradeQuote memory given = _onPool(record)
            ? PoolMath.buyExactOut(_pool(token, record), tokens, msg.value, minTokens)
            : TradeMath.buyExactOut(_now(record), tokens, msg.value, minTokens);
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
        Record storage record = _tradable(token, recipient, deadline, false);
        TradeQuote memory given = _onPool(record)
            ? PoolMath.sellExactIn(_pool(token, record), tokens, minEth)
            : TradeMath.sellExactIn(_now(record), tokens, minEth);
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
        Record storage record = _tradable(token, recipient, deadline, false);
        TradeQuote memory given = _onPool(record)
            ? PoolMath.sellExactOut(_pool(token, record), eth, maxTokens)
            : TradeMath.sellExactOut(_now(record), eth, maxTokens);
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
        Record storage record = _checkOpen(token, isBuy);
        if (_onPool(record)) return _quoteOnPool(_pool(token, record), isBuy, exactOut, amount);
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

    function _quoteOnPool(PoolMath.Pool memory pool, bool isBuy, bool exactOut, uint256 amount)
        private
        pure
        returns (TradeQuote memory)
    {
        if (isBuy) {
            return exactOut
                ? PoolMath.buyExactOut(pool, amount, TradeMath.UNBOUNDED, 0)
                : PoolMath.buyExactIn(pool, amount, 0);
        }
        return exactOut
            ? PoolMath.sellExactOut(pool, amount, type(uint256).max)
            : PoolMath.sellExactIn(pool, amount, 0);
    }

    /// @inheritdoc ILaunchpad
    function market(address token) external view returns (MarketState memory) {
        Record storage record = _records[token];
        (uint256 reserveToken, uint256 reserveWeth) =
            _onPool(record) ? _reserves(token, record.pair) : (0, 0);
        return MarketState({
            phase: record.phase,
            curveId: record.curveId,
            sold: record.sold,
            raised: record.raised,
            seq: record.seq,
            launchBlock: record.launchBlock,
            completedAt: record.completedAt,
            creator: record.creator,
            pair: record.pair,
            reserveToken: reserveToken,
            reserveWeth: reserveWeth,
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
        record.launchBlock = uint48(block.number);
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

    function _checkOpen(address token, bool isBuy) private view returns (Record storage record) {
        record = _known(token);
        Phase phase = record.phase;
        if (phase == Phase.Graduating || (phase == Phase.Reopened && isBuy)) {
            revert MarketNotOpen(token, phase);
        }
    }

    function _onPool(Record storage record) private view returns (bool) {
        return record.phase == Phase.Graduated;
    }

    function _tradable(address token, address recipient, uint256 deadline, bool isBuy)
        private
        view
        returns (Record storage)
    {
        _checkDeadline(deadline);
        if (
            recipient == address(0) || recipient == token || recipient == _records[token].pair
                || recipient == address(this) || recipient == weth
        ) revert InvalidRecipient(recipient);
        return _checkOpen(token, isBuy);
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
        if (_onPool(record)) return _settleInPool(record, order, given);
        record.sold = uint128(given.sold);
        record.raised = uint128(given.raised);
        protocolFees += uint128(given.protocolFee + given.launchFee);
        creatorFees[record.creator] += given.creatorFee;
        _emitTrade(++record.seq, VENUE_CURVE, order, given);
        if (order.isBuy && given.sold == _curves[record.curveId].curveSupply) {
            record.phase = Phase.Graduating;
            record.completedAt = uint48(block.timestamp);
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
}
