-- One message of a topic that no bucket owns; after `counted.lua`.
-- KEYS: counter (hash), stream, epoch, run. ARGV: channel, length of the stream, seconds both live,
-- a random generation for the case that there is none, the message without its last bracket.
local epoch, begun = epoch_here(KEYS[3], KEYS[4])
local whole = counted(KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4], ARGV[5], epoch)
settle()
redis.call('PUBLISH', ARGV[1], begun and begun .. '\n' .. whole or whole)
return 1
