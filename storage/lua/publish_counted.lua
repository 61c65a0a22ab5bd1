-- One message of a topic that no bucket owns; after `counted.lua`.
-- KEYS: counter (hash), stream, epoch. ARGV: channel, length of the stream, seconds both live, a
-- random generation for the case that there is none, the message without its last bracket.
local epoch = redis.call('GET', KEYS[3]) or '0'
local whole = counted(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4], ARGV[5], epoch)
redis.call('PUBLISH', ARGV[1], whole)
return 1
