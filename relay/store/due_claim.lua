-- KEYS: due, leases. ARGV: now in ms, end of the lease in ms, most. Returns what is due, which is this caller's until then.
-- Should the answer be lost, it is due again when the lease has passed.
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, member in ipairs(members) do
  redis.call('ZADD', KEYS[1], ARGV[2], member)
  redis.call('HSET', KEYS[2], member, ARGV[2])
end
return members
