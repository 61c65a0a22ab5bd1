-- Messages of topics that no bucket owns, in order, published together, a line each; after
-- `counted.lua`. KEYS: counter (hash) and stream of each. ARGV: channel, length of a stream,
-- seconds both live, a random generation for the case that there is none, then each message
-- without its last bracket.
local lines = {}
for index = 1, #KEYS / 2 do
  local counter, stream, message = KEYS[2 * index - 1], KEYS[2 * index], ARGV[4 + index]
  lines[index] = counted(counter, stream, ARGV[2], ARGV[3], ARGV[4], message)
end
redis.call('PUBLISH', ARGV[1], table.concat(lines, '\n'))
return #lines
