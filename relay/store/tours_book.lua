-- KEYS: day, person's tours. ARGV: slot, person, member of the index, its score (the tour's start), when today began
-- (s), expiry of the index in ms. Returns "booked", "yours" (was it already), "taken", or "none" for a slot that does not exist.
local holder = redis.call('HGET', KEYS[1], ARGV[1])
if not holder then
  return 'none'
end
if holder ~= '' and holder ~= ARGV[2] then
  return 'taken'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
-- What has been today stays listed: its slot names the person until the day is over.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
-- The index lives as long as its last tour.
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[6]) then
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
return holder == '' and 'booked' or 'yours'
