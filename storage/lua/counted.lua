-- Shared by scripts: counts and stores one message of a topic that no bucket owns, and returns
-- it whole, to be published.
-- The count and its generation live as long as the stream: when one is lost, both begin anew. So
-- they do where `epoch` is given and is another one than that of the last message.
-- `message` is without its last bracket; `generation` a random one for the case of none.
local function counted(counter, stream, length, seconds, generation, message, epoch)
  if epoch and redis.call('HGET', counter, 'epoch') ~= epoch then
    redis.call('DEL', counter)
  end
  if redis.call('EXISTS', counter) == 0 then
    redis.call('DEL', stream)
    redis.call('HSET', counter, 'generation', generation, 'epoch', epoch or '')
  end
  local seq = redis.call('HINCRBY', counter, 'seq', 1)
  local whole = message .. ',"seq":' .. string.format('%.0f', seq)
    .. ',"generation":"' .. redis.call('HGET', counter, 'generation') .. '"}'
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'message', whole)
  redis.call('EXPIRE', counter, seconds)
  redis.call('EXPIRE', stream, seconds)
  return whole
end
