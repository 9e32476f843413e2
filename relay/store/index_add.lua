-- KEYS: index. ARGV: member, score, expiry in ms, the lowest score that stays, most members. A member keeps the lowest of
-- its scores; the index lives as long as the longest of what it lists.
local own = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not own or tonumber(own) > tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[5]) - 1)
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
