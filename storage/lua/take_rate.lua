-- A sliding window, exact: the times of the calls that were let through, by Redis' clock.
-- KEYS: the caller's list. ARGV: limit, window in microseconds.
-- Returns 1 or 0, how many are left, microseconds until the oldest leaves the window.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local oldest = redis.call('LINDEX', KEYS[1], 0)
while oldest and tonumber(oldest) <= now - window do
  redis.call('LPOP', KEYS[1])
  oldest = redis.call('LINDEX', KEYS[1], 0)
end
local used = redis.call('LLEN', KEYS[1])
local allowed = 0
if used < limit then
  allowed = 1
  used = used + 1
  redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
end
local reset = oldest and (tonumber(oldest) + window - now) or window
return {allowed, limit - used, reset}
