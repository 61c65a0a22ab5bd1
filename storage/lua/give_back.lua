-- What is left of a lease goes back. KEYS: as in `take_rate.lua`. ARGV: the moment at which the
-- lease stands, how many are given back. Nothing happens when it has left the window already.
local index = -1
while true do
  local entry = redis.call('LINDEX', KEYS[1], index)
  local moment, count = string.match(entry or '', '^(%d+):(%d+)$')
  if not moment or tonumber(moment) < tonumber(ARGV[1]) then
    return 0
  end
  if moment == ARGV[1] then
    local back = math.min(tonumber(count), tonumber(ARGV[2]))
    redis.call('LSET', KEYS[1], index, moment .. ':' .. string.format('%.0f', count - back))
    if redis.call('EXISTS', KEYS[2]) == 1 then
      redis.call('DECRBY', KEYS[2], back)
    end
    return back
  end
  index = index - 1
end
