-- Takes rows for the list of tokens and, if it is time, publishes the longest waiting ones as one
-- message; after `counted.lua`. Rows of a bucket that a higher incarnation owns are refused.
-- KEYS: counter (hash), stream, order of what waits (sorted set), rows (hash), launches (hash),
-- count of what was left out, the mark of the interval; then the fence of each bucket.
-- ARGV: channel, length of the stream, seconds all lives, a random generation, the message up to
-- its rows, interval in ms, rows a message, rows that may wait, left out before they came here;
-- then for each fence its incarnation, the number of its rows, and token, row and launch of each.
-- Returns how many rows wait, ms until the next message may go, and 1, or 0 when refused, for
-- each fence.
local order, rows, launches, left_out, mark = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local seconds, most, bound = ARGV[3], tonumber(ARGV[7]), tonumber(ARGV[8])
local answers = {0, 0}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local missed = tonumber(ARGV[9])

local function take(token, row, launch)
  local waits = redis.call('HEXISTS', rows, token) == 1
  if not waits and redis.call('ZCARD', order) >= bound then
    missed = missed + 1
    return
  end
  if not waits then
    redis.call('ZADD', order, string.format('%.0f', now), token)
  end
  redis.call('HSET', rows, token, row)
  if launch ~= '' then
    redis.call('HSET', launches, token, launch)
  end
end

local at = 10
for index = 8, #KEYS do
  local known, mine = tonumber(redis.call('GET', KEYS[index]) or '0'), tonumber(ARGV[at])
  local last = at + 1 + 3 * tonumber(ARGV[at + 1])
  if mine < known then
    answers[#answers + 1] = 0
  else
    answers[#answers + 1] = 1
    if mine > known then
      redis.call('SET', KEYS[index], ARGV[at])
    end
    for i = at + 2, last, 3 do
      take(ARGV[i], ARGV[i + 1], ARGV[i + 2])
    end
  end
  at = last + 1
end
if missed > 0 then
  redis.call('INCRBY', left_out, missed)
end

local waiting = redis.call('ZCARD', order)
if waiting > 0 and redis.call('SET', mark, '1', 'PX', ARGV[6], 'NX') then
  local items = {}
  for _, token in ipairs(redis.call('ZRANGE', order, 0, most - 1)) do
    local launch = redis.call('HGET', launches, token) or 'null'
    local row = redis.call('HGET', rows, token)
    items[#items + 1] = string.sub(row, 1, -2) .. ',"launch":' .. launch .. '}'
    redis.call('HDEL', rows, token)
    redis.call('HDEL', launches, token)
    redis.call('ZREM', order, token)
  end
  waiting = waiting - #items
  local lost = redis.call('GET', left_out) or '0'
  redis.call('DEL', left_out)
  local message = ARGV[5] .. table.concat(items, ',') .. '],"waiting":'
    .. string.format('%.0f', waiting) .. ',"leftOut":' .. lost .. '}'
  local whole = counted(KEYS[1], KEYS[2], ARGV[2], seconds, ARGV[4], message)
  settle()
  redis.call('PUBLISH', ARGV[1], whole)
end
for index = 3, 6 do
  redis.call('EXPIRE', KEYS[index], seconds)
end
answers[1], answers[2] = waiting, math.max(redis.call('PTTL', mark), 0)
return answers
