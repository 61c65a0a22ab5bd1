-- Counts, stores and publishes one message of a topic that no bucket owns. The count and its
-- generation live as long as the stream: when one is lost, both begin anew.
-- KEYS: counter (hash), stream. ARGV: channel, length of the stream, seconds both live, a
-- random generation for the case that there is none, the message without its last bracket.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'generation', ARGV[4])
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local generation = redis.call('HGET', KEYS[1], 'generation')
local message = ARGV[5] .. ',"seq":' .. string.format('%.0f', seq)
  .. ',"generation":"' .. generation .. '"}'
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'message', message)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[1], message)
return seq
