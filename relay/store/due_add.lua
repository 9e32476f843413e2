-- KEYS: due, leases, again. ARGV: now in ms, then member, when in ms ... The earlier of two moments counts. What somebody
-- is at work on is looked at again when they are done.
for i = 2, #ARGV, 2 do
  local member, at = ARGV[i], tonumber(ARGV[i + 1])
  local lease = redis.call('HGET', KEYS[2], member)
  if lease and tonumber(lease) > tonumber(ARGV[1]) then
    local again = redis.call('HGET', KEYS[3], member)
    if not again or at < tonumber(again) then
      redis.call('HSET', KEYS[3], member, ARGV[i + 1])
    end
  else
    local due = redis.call('ZSCORE', KEYS[1], member)
    if not due or at < tonumber(due) then
      redis.call('ZADD', KEYS[1], ARGV[i + 1], member)
    end
  end
end
return 1
