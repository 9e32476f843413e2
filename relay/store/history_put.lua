-- KEYS: items, state. ARGV: epoch, expiry in ms, the mark this write leaves ("" for none) and that of the write before it
-- ("": whichever), count of state words, the state words (field, value ...), then position, member ... ("" removes what
-- is at the position). 0 for a newer session's conversation; 2, and nothing is written, when the write before is gone.
if not claim(KEYS[2], ARGV[1]) then
  return 0
end
if ARGV[3] ~= '' then
  local mark = redis.call('HGET', KEYS[2], 'mark')
  if ARGV[4] ~= '' and mark ~= ARGV[4] and mark ~= ARGV[3] then
    return 2
  end
  redis.call('HSET', KEYS[2], 'mark', ARGV[3])
end
local first = 6 + tonumber(ARGV[5])
if first > 6 then
  redis.call('HSET', KEYS[2], unpack(ARGV, 6, first - 1))
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
