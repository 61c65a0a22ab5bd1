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
-- be published; `settle` notes the counts, before the script ends.
-- The count and its generation live as long as the stream: when one is lost, both begin anew. So
-- they do where `epoch` is given and is another one than that of the last message.
-- `message` is without its last bracket; `generation` a random one for the case of none.
-- Nothing but the script moves a counter while it runs: each is asked for once and written once.
-- Both live for `seconds` at least after the last message, and are told so in every eighth part of
-- it anew: a command costs the server some microseconds, and a trade is said on two topics, twice.
local looked_at = {}
local function counted(counter, stream, length, seconds, generation, message, epoch)
  local known = looked_at[counter]
  if known == nil or known.epoch ~= epoch then
    local found = redis.call('HMGET', counter, 'generation', 'seq', 'epoch', 'lives')
    known = {epoch = epoch, stream = stream, seconds = tonumber(seconds)}
    if not found[1] or (epoch and found[3] ~= epoch) then
      redis.call('DEL', counter, stream)
      known.generation, known.seq, known.lives = generation, 0, 0
    else
      known.generation, known.seq = found[1], tonumber(found[2] or '0')
      known.lives = tonumber(found[4] or '0')
    end
    looked_at[counter] = known
  end
  local function whole()
    known.seq = known.seq + 1
    return message .. ',"seq":' .. string.format('%.0f', known.seq)
      .. ',"generation":"' .. known.generation .. '"}'
  end
  local made, last = whole(), false
  if known.seq > 1 then
    last = redis.call('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', length, '*', 'message', made)
  end
  if not last then
    if known.seq > 1 then  -- the stream was lost alone
      redis.call('DEL', counter)
      known.generation, known.seq, known.lives = generation, 0, 0
      made = whole()
    end
    last = redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'message', made)
  end
  known.last = last
  return made
end

local function settle()
  for counter, known in pairs(looked_at) do
    local now = tonumber(string.match(known.last, '^%d+'))
    local again = now - known.lives > known.seconds * 125
    if again then
      known.lives = now
    end
    redis.call('HSET', counter, 'generation', known.generation, 'epoch', known.epoch or '',
      'seq', string.format('%.0f', known.seq), 'lives', string.format('%.0f', known.lives))
    if again then
      local seconds = math.ceil(known.seconds * 9 / 8)
      redis.call('EXPIRE', counter, seconds)
      redis.call('EXPIRE', known.stream, seconds)
    end
  end
end
