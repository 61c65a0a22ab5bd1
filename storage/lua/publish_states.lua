-- Publishes messages to read replicas, each unless a higher incarnation of a bucket that it names
-- has published before. KEYS: the fence of each bucket that is named. ARGV: the number of
-- messages; then for each its channel, itself, the number of its buckets, and for each of them
-- its place in KEYS and its incarnation. Returns for each message how many heard it; where it was
-- refused -1 and the places of the buckets that were overtaken.
local answers = {}
local known = {}
for index, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  known[index] = tonumber(value or '0')
end
local at = 2
for index = 1, tonumber(ARGV[1]) do
  local first = at + 3
  local last = first + 2 * tonumber(ARGV[at + 2]) - 1
  local refused = {}
  for i = first, last, 2 do
    if tonumber(ARGV[i + 1]) < known[tonumber(ARGV[i])] then
      table.insert(refused, tonumber(ARGV[i]))
    end
  end
  if #refused > 0 then
    table.insert(refused, 1, -1)
    answers[index] = refused
  else
    for i = first, last, 2 do
      local place = tonumber(ARGV[i])
      if tonumber(ARGV[i + 1]) > known[place] then
        redis.call('SET', KEYS[place], ARGV[i + 1])
        known[place] = tonumber(ARGV[i + 1])
      end
    end
    answers[index] = {redis.call('PUBLISH', ARGV[at], ARGV[at + 1])}
  end
  at = last + 1
end
return answers
