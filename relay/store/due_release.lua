-- KEYS: due, leases, again. ARGV: member, end of the lease that its holder was given, when to look again in ms ("": never).
-- 0, and nothing changed, when the lease is another one's by now.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
local at = ARGV[3]
local again = redis.call('HGET', KEYS[3], ARGV[1])
if again and (at == '' or tonumber(again) < tonumber(at)) then
  at = again
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if at == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], at, ARGV[1])
end
return 1
