-- KEYS: the counts (hash) and the slowest turns (sorted set) of some minutes. ARGV: process, number of the batch, expiry
-- in ms, how many of the slowest are kept, the batch as JSON: what is added by its name, what may be greatest by its
-- name, ms by turn. A number that the process has used before changes nothing.
local last = redis.call('HGET', KEYS[1], 'by:' .. ARGV[1])
if last and tonumber(last) >= tonumber(ARGV[2]) then
  return 0
end
local batch = cjson.decode(ARGV[5])
local function exact(value)
  return string.format('%.17g', value)
end
redis.call('HSET', KEYS[1], 'by:' .. ARGV[1], ARGV[2])
for name, value in pairs(batch.added) do
  redis.call('HINCRBYFLOAT', KEYS[1], name, exact(value))
end
for name, value in pairs(batch.greatest) do
  if value > tonumber(redis.call('HGET', KEYS[1], name) or '-1') then
    redis.call('HSET', KEYS[1], name, exact(value))
  end
end
for turn, ms in pairs(batch.slowest) do
  redis.call('ZADD', KEYS[2], exact(ms), turn)
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
