-- KEYS: effects, state. ARGV: epoch, expiry in ms, field, the entry to write when there is none.
if not claim(KEYS[2], ARGV[1]) then
  return false
end
local found = redis.call('HGET', KEYS[1], ARGV[3])
if not found then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return found or ARGV[4]
