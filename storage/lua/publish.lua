-- Publishes ticks of one bucket, unless a higher incarnation has published before.
-- KEYS: the bucket's fence. ARGV: incarnation, channel, prefix of streams, length of a stream,
-- seconds it lives, then topic and message of each tick. Returns 1, or 0 when refused.
local known = tonumber(redis.call('GET', KEYS[1]) or '0')
local mine = tonumber(ARGV[1])
if mine < known then
  return 0
end
if mine > known then
  redis.call('SET', KEYS[1], ARGV[1])
end
for i = 6, #ARGV, 2 do
  local stream = ARGV[3] .. ARGV[i]
  redis.call('XADD', stream, 'MAXLEN', '~', ARGV[4], '*', 'message', ARGV[i + 1])
  redis.call('EXPIRE', stream, ARGV[5])
  redis.call('PUBLISH', ARGV[2], ARGV[i + 1])
end
return 1
