-- Publishes ticks of several buckets, each unless a higher incarnation has published before;
-- all together, a line each: a listener pays for each publication, not for its length.
-- KEYS: the fence of each bucket. ARGV: channel, prefix of streams, length of a stream, seconds
-- it lives; then for each key its incarnation, the number of its ticks, and topic and message
-- of each tick. Returns 1, or 0 when refused, for each key.
local answers = {}
local lines = {}
local lives = {}
local at = 5
for index, fence in ipairs(KEYS) do
  local known = tonumber(redis.call('GET', fence) or '0')
  local mine = tonumber(ARGV[at])
  local last = at + 1 + 2 * tonumber(ARGV[at + 1])
  if mine < known then
    answers[index] = 0
  else
    answers[index] = 1
    if mine > known then
      redis.call('SET', fence, ARGV[at])
    end
    for i = at + 2, last, 2 do
      local stream = ARGV[2] .. ARGV[i]
      redis.call('XADD', stream, 'MAXLEN', '~', ARGV[3], '*', 'message', ARGV[i + 1])
      if not lives[stream] then
        redis.call('EXPIRE', stream, ARGV[4])
        lives[stream] = true
      end
      lines[#lines + 1] = ARGV[i + 1]
    end
  end
  at = last + 1
end
if #lines > 0 then
  redis.call('PUBLISH', ARGV[1], table.concat(lines, '\n'))
end
return answers
