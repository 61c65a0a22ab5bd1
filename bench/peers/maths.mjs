// The constant-product quote in bigint: the same numbers as curves/ and engine/quoting.py give.
// A market is {token, virtualEth, virtualTokens, curveSupply, sold, raised, protocolBps,
// creatorBps, launchBps, launchBlocks, launchBlock, phase, asOf}, its amounts bigint.

const BPS = 10_000n;
const SCALE = 10n ** 36n;
const AMOUNT_MAX = 2n ** 112n - 1n;

export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const AMOUNTS = ["virtualEth", "virtualTokens", "curveSupply", "sold", "raised"];

export function marketOf(plain) {
  const market = { ...plain };
  for (const name of AMOUNTS) market[name] = BigInt(plain[name]);
  return market;
}

const ceilDiv = (a, b) => (a + b - 1n) / b;

function launchBpsAt(market, block) {
  const age = Math.max(block - market.launchBlock, 0);
  if (age >= market.launchBlocks) return 0;
  return Math.floor((market.launchBps * (market.launchBlocks - age)) / market.launchBlocks);
}

function exactUntil(market, block) {
  const rate = launchBpsAt(market, block);
  if (rate === 0) return null;
  const left = Math.ceil((rate * market.launchBlocks) / market.launchBps);
  return market.launchBlock + market.launchBlocks - left;
}

function ratesAt(market, block) {
  const [protocol, creator] = [BigInt(market.protocolBps), BigInt(market.creatorBps)];
  const launch = BigInt(launchBpsAt(market, block));
  const total = protocol + creator + launch;
  return {
    net: (gross) => (gross * (BPS - total)) / BPS,
    gross: (net) => ceilDiv(net * BPS, BPS - total),
    split(gross, net) {
      const creatorFee = (gross * creator) / BPS;
      const launchFee = (gross * launch) / BPS;
      return { protocolFee: gross - net - creatorFee - launchFee, creatorFee, launchFee };
    },
  };
}

function buy(market, { exactOut, amount }, rates, x, y) {
  const left = market.curveSupply - market.sold;
  if (exactOut) {
    const clipped = amount > left;
    const tokens = clipped ? left : amount;
    const curveEth = ceilDiv(x * tokens, y - tokens);
    if (tokens === 0n || curveEth === 0n) throw zero();
    const eth = rates.gross(curveEth);
    return { tokens, eth, curveEth, refund: 0n, clipped, ...rates.split(eth, curveEth) };
  }
  const net = rates.net(amount);
  const full = ceilDiv(x * left, y - left);
  const clipped = net >= full;
  const tokens = clipped ? left : (y * net) / (x + net);
  const curveEth = clipped ? full : net;
  const eth = clipped ? rates.gross(full) : amount;
  if (amount === 0n || tokens === 0n) throw zero();
  return { tokens, eth, curveEth, refund: amount - eth, clipped, ...rates.split(eth, curveEth) };
}

function sell(market, { exactOut, amount }, rates, x, y) {
  let tokens, eth, curveEth;
  if (exactOut) {
    eth = amount;
    curveEth = rates.gross(eth);
    if (curveEth > market.raised) throw new Refused("exceeds_sold", "More than raised");
    tokens = ceilDiv(y * curveEth, x - curveEth);
    if (tokens > market.sold) throw new Refused("exceeds_sold", "More than sold");
  } else {
    tokens = amount;
    if (tokens > market.sold) throw new Refused("exceeds_sold", "More than sold");
    curveEth = (x * tokens) / (y + tokens);
    eth = rates.net(curveEth);
  }
  if (tokens === 0n || eth === 0n) throw zero();
  const fees = rates.split(curveEth, eth);
  return { tokens, eth, curveEth, refund: 0n, clipped: false, ...fees };
}

const zero = () => new Refused("zero_output", "The trade gives nothing");

// request: {isBuy, exactOut, amount (bigint), slippageBps}
export function quote(market, request) {
  const { isBuy, exactOut, amount, slippageBps } = request;
  if (amount > AMOUNT_MAX) throw new Refused("amount_too_large", "Too large");
  const forBlock = market.asOf.blockNumber + 1;
  const x = market.virtualEth + market.raised;
  const y = market.virtualTokens - market.sold;
  const done = (isBuy ? buy : sell)(market, request, ratesAt(market, forBlock), x, y);
  const { tokens, eth, curveEth } = done;
  const amountIn = isBuy ? (exactOut ? eth : amount) : tokens;
  const amountOut = isBuy ? tokens : eth;
  const slippage = BigInt(slippageBps);
  const atSpot = tokens * x;
  const off = curveEth * y - atSpot;
  return {
    ...done,
    amountIn,
    amountOut,
    spotPrice: (x * SCALE) / y,
    executionPrice: (eth * SCALE) / tokens,
    priceImpactBps: Number(((off < 0n ? -off : off) * BPS) / atSpot),
    bound: exactOut
      ? ceilDiv(amountIn * (BPS + slippage), BPS)
      : (amountOut * (BPS - slippage)) / BPS,
    spent: isBuy ? eth : tokens,
    forBlock,
    exactUntilBlock: exactUntil(market, forBlock),
  };
}
