-- KEYS: items, state. ARGV: epoch, expiry in ms, count of state words, the state words (field, value ...),
-- then position, member ... ("" removes what is at the position).
if not claim(KEYS[2], ARGV[1]) then
  return 0
end
local first = 4 + tonumber(ARGV[3])
if first > 4 then
  redis.call('HSET', KEYS[2], unpack(ARGV, 4, first - 1))
end
for i = first, #ARGV, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i])
  if ARGV[i + 1] ~= '' then
    redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
