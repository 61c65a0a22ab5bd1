-- Keeps values for a while, and all that is kept within a number of bytes: what would end first
-- goes first.
-- KEYS: when each ends (sorted set), sizes (hash, the sum under an empty field), then the keys.
-- ARGV: seconds, bytes in all, then a value for each key. Returns the bytes that are kept.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local function forget(key)
  local size = redis.call('HGET', KEYS[2], key)
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[1], key)
  redis.call('HDEL', KEYS[2], key)
  if size then
    redis.call('HINCRBY', KEYS[2], '', -size)
  end
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)) do
  forget(key)
end
for index = 3, #KEYS do
  local key, value = KEYS[index], ARGV[index]
  forget(key)
  redis.call('SET', key, value, 'EX', ARGV[1])
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), key)
  redis.call('HSET', KEYS[2], key, #key + #value)
  redis.call('HINCRBY', KEYS[2], '', #key + #value)
end
local kept = tonumber(redis.call('HGET', KEYS[2], '') or '0')
while kept > tonumber(ARGV[2]) do
  local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not first then
    redis.call('DEL', KEYS[2])
    return 0
  end
  forget(first)
  kept = tonumber(redis.call('HGET', KEYS[2], '') or '0')
end
return kept
