-- KEYS: the counts (hash) and the slowest turns (sorted set) of some minutes. ARGV: process, number of the batch, expiry
-- in ms, how many of the slowest are kept, then triples: "+", name, what is added; "^", name, what may be greatest;
-- "s", a turn, its ms. A number that the process has used before changes nothing.
local last = redis.call('HGET', KEYS[1], 'by:' .. ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'by:' .. ARGV[1], ARGV[2])
for i = 5, #ARGV, 3 do
  local kind, name, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == '+' then
    redis.call('HINCRBYFLOAT', KEYS[1], name, value)
  elseif kind == '^' then
    if tonumber(value) > tonumber(redis.call('HGET', KEYS[1], name) or '-1') then
      redis.call('HSET', KEYS[1], name, value)
    end
  else
    redis.call('ZADD', KEYS[2], value, name)
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
