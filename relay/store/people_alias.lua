-- KEYS: person. ARGV: expiry in ms (0: none), whose alias it becomes, then field, value ... as they were read. 1 when it
-- is that alias now; 0, and nothing changed, when anything has changed since it was read.
if redis.call('HGET', KEYS[1], 'alias') == ARGV[2] then
  return 1
end
if redis.call('HLEN', KEYS[1]) * 2 ~= #ARGV - 2 then
  return 0
end
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then
    return 0
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'alias', ARGV[2])
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
