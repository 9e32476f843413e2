-- KEYS: person. ARGV: expiry in ms (0: none, ever), when in ms. Nothing but the two moments is touched. Returns the
-- alias's person where the id is an alias, else "".
local alias = redis.call('HGET', KEYS[1], 'alias')
if alias then
  return alias
end
local first = redis.call('HGET', KEYS[1], 'first_seen')
if not first or tonumber(ARGV[2]) < tonumber(first) then
  redis.call('HSET', KEYS[1], 'first_seen', ARGV[2])
end
local last = redis.call('HGET', KEYS[1], 'last_seen')
if not last or tonumber(ARGV[2]) > tonumber(last) then
  redis.call('HSET', KEYS[1], 'last_seen', ARGV[2])
end
if ARGV[1] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return ''
