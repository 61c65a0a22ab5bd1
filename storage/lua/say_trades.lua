-- Says trades of several buckets on the topic of all trades and on those of wallets, each bucket's
-- unless a higher incarnation has published before, all together, a line each; after
-- `counted.lua`. The mark of a bucket is the block up to which its sealed trades were said: one of
-- a block up to there is left out.
-- KEYS: the epoch; then of each parcel's bucket the fence, the mark (hash), and what is open, as a
-- hash: messages of preconfirmed trades that were said and are not sealed. ARGV: channel, prefix of
-- streams, prefix of counters, length of a stream, seconds it lives, a random generation, how many
-- may be open; then for each parcel its incarnation and the number of its items, and of each item
-- seven: what it is, number and hash of a block, the message for all, the topic of the wallet, and
-- the message for it, both without their last bracket, and the identity of the trade. It is
--   'open': both messages, whatever the mark; the trade is open from here on;
--   'retracted': both, whatever the mark; it is open no more;
--   'sealed': both, if the mark was below that block; the mark is there then, and it is not open;
--   'lift': the mark is not below that block;
--   'back': blocks above that one were taken back, the mark is not above it;
--   'gap': the mark is there, nothing is open; the epoch, and so all these topics, begins anew,
--     once a call, and a line of its own says so.
-- Returns 1, or 0 when refused, for each parcel.
local answers = {}
local lines = {}
local epoch = redis.call('GET', KEYS[1]) or '0'
local begun = false

local function say(topic, message)
  local counter, stream = ARGV[3] .. topic, ARGV[2] .. topic
  local generation = ARGV[6] .. '-' .. epoch
  lines[#lines + 1] = counted(counter, stream, ARGV[4], ARGV[5], generation, message, epoch)
end

local function note_open(open, identity, message)
  if redis.call('HLEN', open) < tonumber(ARGV[7]) then
    redis.call('HSET', open, identity, message)
  else
    redis.call('HSET', open, 'more', '')
  end
end

local at = 8
for index = 2, #KEYS, 3 do
  local fence, mark, open = KEYS[index], KEYS[index + 1], KEYS[index + 2]
  local known, mine = tonumber(redis.call('GET', fence) or '0'), tonumber(ARGV[at])
  local last = at + 1 + 7 * tonumber(ARGV[at + 1])
  if mine < known then
    answers[#answers + 1] = 0
  else
    answers[#answers + 1] = 1
    if mine > known then
      redis.call('SET', fence, ARGV[at])
    end
    -- Compared with where the mark was before: a block has many trades.
    local upto = tonumber(redis.call('HGET', mark, 'number') or '-2')
    local top, hash = upto, nil
    for i = at + 2, last, 7 do
      local kind, number = ARGV[i], tonumber(ARGV[i + 1])
      if kind == 'open' or kind == 'retracted' or (kind == 'sealed' and number > upto) then
        say('trades', ARGV[i + 3])
        say(ARGV[i + 4], ARGV[i + 5])
      end
      if kind == 'open' then
        note_open(open, ARGV[i + 6], ARGV[i + 3])
      elseif kind == 'retracted' or kind == 'sealed' then
        redis.call('HDEL', open, ARGV[i + 6])
      end
      if (kind == 'sealed' and number > upto) or (kind == 'lift' and number > top) then
        top, hash = number, ARGV[i + 2]
      elseif kind == 'back' then
        upto = math.min(upto, number)
        if top > number then
          top, hash = number, ARGV[i + 2]
        end
      elseif kind == 'gap' then
        upto, top, hash = number, number, ARGV[i + 2]
        redis.call('DEL', open)
        if not begun then
          begun, epoch = true, string.format('%.0f', redis.call('INCR', KEYS[1]))
          lines[#lines + 1] = '{"epoch":"' .. epoch .. '"}'
        end
      end
    end
    if hash then
      redis.call('HSET', mark, 'number', string.format('%.0f', top), 'hash', hash)
    end
  end
  at = last + 1
end
if #lines > 0 then
  redis.call('PUBLISH', ARGV[1], table.concat(lines, '\n'))
end
return answers
