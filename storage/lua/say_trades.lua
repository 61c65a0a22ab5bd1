-- Says trades of several buckets on the topic of all trades and on those of wallets, each bucket's
-- unless a higher incarnation has published before or it was claimed anew since, all together, a
-- line each; after `counted.lua`. The mark of a bucket is the block up to which its sealed trades
-- were said: one of a block up to there is left out.
-- KEYS: the epoch, the run; then of each parcel's bucket the fence, the mark (hash), and what is
-- open, as a hash: messages of preconfirmed trades that were said and are not sealed. ARGV:
-- channel, prefix of streams, prefix of counters, length of a stream, seconds it lives, a random
-- generation, how many may be open; then for each parcel its incarnation, its claim and the number
-- of its items, and of each item seven: what it is, number and hash of a block, the message for
-- all, the topic of the wallet, and the message for it, both without their last bracket, and the
-- identity of the trade. It is
--   'open': both messages, whatever the mark; the trade is open from here on;
--   'retracted': both, whatever the mark; it is open no more;
--   'untrue': both, if it is open; it is no more;
--   'sealed': both, if the mark was below that block; the mark is there then, and it is not open;
--   'lift': the mark is not below that block;
--   'back': blocks above that one were taken back, the mark is not above it;
--   'gap': the mark is there, nothing is open; the epoch, and so all these topics, begins anew,
--     once a call, and a line of its own says so.
-- Returns for each parcel 1, or 0 where a higher incarnation has it, or 2 where its claim is not
-- the last one: a call that comes late, after its caller gave it up, says nothing.
local CLOSED_MAX = 1000
local answers = {}
local lines = {}
local epoch, begun = epoch_here(KEYS[1], KEYS[2])
if begun then
  lines[1] = begun
end

local function say(topic, message)
  local counter, stream = ARGV[3] .. topic, ARGV[2] .. topic
  local generation = ARGV[6] .. '-' .. epoch
  lines[#lines + 1] = counted(counter, stream, ARGV[4], ARGV[5], generation, message, epoch)
end

-- What is open of one bucket; `size` is known from the first that is noted on.
local open, size, closed

local function note_open(identity, message)
  size = size or redis.call('HLEN', open)
  if size < tonumber(ARGV[7]) then
    size = size + redis.call('HSET', open, identity, message)
  else
    size = size + redis.call('HSET', open, 'more', '')
  end
end

-- Those that were sealed are closed together, before anything else is done with what is open.
local function close_sealed()
  if #closed > 0 then
    local gone = redis.call('HDEL', open, unpack(closed))
    size = size and size - gone
    closed = {}
  end
end

local function close(identity)
  local gone = redis.call('HDEL', open, identity)
  size = size and size - gone
  return gone == 1
end

local at = 8
for index = 3, #KEYS, 3 do
  local fence, mark = KEYS[index], KEYS[index + 1]
  open, size, closed = KEYS[index + 2], nil, {}
  local known, mine = tonumber(redis.call('GET', fence) or '0'), tonumber(ARGV[at])
  local last = at + 2 + 7 * tonumber(ARGV[at + 2])
  if mine < known then
    answers[#answers + 1] = 0
  elseif redis.call('HGET', mark, 'claim') ~= ARGV[at] .. ':' .. ARGV[at + 1] then
    answers[#answers + 1] = 2
  else
    answers[#answers + 1] = 1
    if mine > known then
      redis.call('SET', fence, ARGV[at])
    end
    -- Compared with where the mark was before: a block has many trades.
    local upto = tonumber(redis.call('HGET', mark, 'number') or '-2')
    local top, hash = upto, nil
    for i = at + 3, last, 7 do
      local kind, number = ARGV[i], tonumber(ARGV[i + 1])
      local was_open = false
      if kind == 'sealed' then
        closed[#closed + 1] = ARGV[i + 6]
        if #closed == CLOSED_MAX then
          close_sealed()
        end
      else
        close_sealed()
        was_open = (kind == 'untrue' or kind == 'retracted') and close(ARGV[i + 6])
      end
      if kind == 'open' or kind == 'retracted' or (kind == 'untrue' and was_open)
        or (kind == 'sealed' and number > upto) then
        say('trades', ARGV[i + 3])
        say(ARGV[i + 4], ARGV[i + 5])
      end
      if kind == 'open' then
        note_open(ARGV[i + 6], ARGV[i + 3])
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
        size = nil
        if not begun then
          epoch = string.format('%.0f', redis.call('INCR', KEYS[1]))
          begun = '{"epoch":"' .. epoch .. '"}'
          lines[#lines + 1] = begun
        end
      end
    end
    close_sealed()
    if hash then
      redis.call('HSET', mark, 'number', string.format('%.0f', top), 'hash', hash)
    end
  end
  at = last + 1
end
settle()
if #lines > 0 then
  redis.call('PUBLISH', ARGV[1], table.concat(lines, '\n'))
end
return answers
