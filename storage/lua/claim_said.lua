-- Claims buckets, each unless a higher incarnation has published before, and tells up to which
-- block their sealed trades were said; where nobody knows, it is the block given.
-- KEYS: the fence and the mark (hash) of each bucket. ARGV: for each its incarnation, and number
-- and hash of that block. Returns for each number and hash, or nothing when refused.
local answers = {}
for index = 1, #KEYS, 2 do
  local fence, mark, at = KEYS[index], KEYS[index + 1], 3 * (index - 1) / 2 + 1
  local known, mine = tonumber(redis.call('GET', fence) or '0'), tonumber(ARGV[at])
  if mine < known then
    answers[#answers + 1] = {}
  else
    if mine > known then
      redis.call('SET', fence, ARGV[at])
    end
    if redis.call('EXISTS', mark) == 0 then
      redis.call('HSET', mark, 'number', ARGV[at + 1], 'hash', ARGV[at + 2])
    end
    answers[#answers + 1] = redis.call('HMGET', mark, 'number', 'hash')
  end
end
return answers
