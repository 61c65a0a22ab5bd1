-- Claims buckets, each unless a higher incarnation has published before, and tells up to which
-- block their sealed trades were said; where nobody knows, it is the block given. What is said
-- under an earlier claim and comes later is refused.
-- KEYS: of each bucket the fence, the mark (hash), and what is open (hash). ARGV: for each its
-- incarnation, the number of the claim, which only grows in an incarnation, and number and hash of
-- that block. Returns for each number, hash, and the messages of what is open (an empty one: and
-- more), or nothing when refused.
local answers = {}
local at = 1
for index = 1, #KEYS, 3 do
  local fence, mark = KEYS[index], KEYS[index + 1]
  local known, mine = tonumber(redis.call('GET', fence) or '0'), tonumber(ARGV[at])
  if mine < known then
    answers[#answers + 1] = {}
  else
    if mine > known then
      redis.call('SET', fence, ARGV[at])
    end
    if redis.call('EXISTS', mark) == 0 then
      redis.call('HSET', mark, 'number', ARGV[at + 2], 'hash', ARGV[at + 3])
    end
    local claim = redis.call('HGET', mark, 'claim') or '0:0'
    local incarnation, number = string.match(claim, '(%d+):(%d+)')
    if tonumber(incarnation) < mine or tonumber(number) < tonumber(ARGV[at + 1]) then
      redis.call('HSET', mark, 'claim', ARGV[at] .. ':' .. ARGV[at + 1])
    end
    local place = redis.call('HMGET', mark, 'number', 'hash')
    answers[#answers + 1] = {place[1], place[2], redis.call('HVALS', KEYS[index + 2])}
  end
  at = at + 4
end
return answers
