-- Shared by scripts. `epoch_here` is the epoch, and the line to publish where it begins anew: this
-- server is not the one that said the last message. It was restarted, or took another's place, and
-- may have forgotten what was heard.
local function epoch_here(epoch, run)
  local info = redis.pcall('INFO', 'server')
  local here = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
  if redis.call('GET', run) == here then
    return redis.call('GET', epoch) or '0'
  end
  redis.call('SET', run, here)
  local risen = string.format('%.0f', redis.call('INCR', epoch))
  return risen, '{"epoch":"' .. risen .. '"}'
end

-- `counted` counts and stores one message of a topic that no bucket owns, and returns it whole, to
-- be published.
-- The count and its generation live as long as the stream: when one is lost, both begin anew. So
-- they do where `epoch` is given and is another one than that of the last message.
-- `message` is without its last bracket; `generation` a random one for the case of none.
-- Nothing but the script moves a counter while it runs: what is known of one is asked once, as
-- long as the epoch stays.
local looked_at = {}
local function counted(counter, stream, length, seconds, generation, message, epoch)
  local known = looked_at[counter]
  local is_first = known == nil or known.epoch ~= epoch
  if is_first then
    if epoch and redis.call('HGET', counter, 'epoch') ~= epoch then
      redis.call('DEL', counter)
    end
    if redis.call('EXISTS', counter) == 0 then
      redis.call('DEL', stream)
      redis.call('HSET', counter, 'generation', generation, 'epoch', epoch or '')
    end
    known = {epoch = epoch, generation = redis.call('HGET', counter, 'generation')}
    looked_at[counter] = known
  end
  local seq = redis.call('HINCRBY', counter, 'seq', 1)
  local whole = message .. ',"seq":' .. string.format('%.0f', seq)
    .. ',"generation":"' .. known.generation .. '"}'
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'message', whole)
  if is_first then
    redis.call('EXPIRE', counter, seconds)
    redis.call('EXPIRE', stream, seconds)
  end
  return whole
end
