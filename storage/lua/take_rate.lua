-- A sliding window, exact: what was let through, by Redis' clock. A lease of several, which may
-- be spent until it ends, stands at the moment of its end: so it counts in every window in which
-- one of them may still be spent.
-- KEYS: the caller's entries "moment:count", in order of their moments; their sum.
-- ARGV: limit, window, how many are wanted, how long they may be spent (times in microseconds).
-- Returns how many were given, how many are left, microseconds until the oldest leaves the
-- window, and the moment at which those given stand.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function parted(entry)
  local moment, count = string.match(entry, '^(%d+):(%d+)$')
  return tonumber(moment), tonumber(count)
end

local function summed()
  local sum = 0
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    local _, count = parted(entry)
    sum = sum + count
  end
  return sum
end

local used = tonumber(redis.call('GET', KEYS[2]) or summed())
local oldest = redis.call('LINDEX', KEYS[1], 0)
if not oldest then
  used = 0
end
while oldest do
  local moment, count = parted(oldest)
  if moment > now - window then
    break
  end
  redis.call('LPOP', KEYS[1])
  used = used - count
  oldest = redis.call('LINDEX', KEYS[1], 0)
end

local given = math.max(0, math.min(tonumber(ARGV[3]), limit - used))
local moment = now + tonumber(ARGV[4])
if given > 0 then
  -- Never before the last: the entries stay in order, and a call after a lease counts a little
  -- longer than it must.
  local last = redis.call('LINDEX', KEYS[1], -1)
  local last_moment, last_count = 0, 0
  if last then
    last_moment, last_count = parted(last)
  end
  moment = math.max(moment, last_moment)
  if moment == last_moment then
    redis.call('RPOP', KEYS[1])
  else
    last_count = 0
  end
  redis.call('RPUSH', KEYS[1], string.format('%.0f:%.0f', moment, last_count + given))
  used = used + given
end
if used > 0 then
  local lives = math.ceil((math.max(moment, now) + window - now) / 1000)
  redis.call('SET', KEYS[2], string.format('%.0f', used), 'PX', lives)
  if given > 0 then
    redis.call('PEXPIRE', KEYS[1], lives)
  end
end
local reset = oldest and (parted(oldest) + window - now) or (moment + window - now)
return {given, math.max(limit - used, 0), reset, string.format('%.0f', moment)}
