-- KEYS: items, state. ARGV: epoch, expiry in ms, most items.
local before = claim(KEYS[2], ARGV[1])
if not before then
  return false
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {
  before,
  redis.call('ZRANGE', KEYS[1], -tonumber(ARGV[3]), -1, 'WITHSCORES'),
  redis.call('HGETALL', KEYS[2]),
}
