-- KEYS: person. ARGV: expiry in ms (0: none), 1 to write only where there is nothing else, then field, value ...
-- ("" removes the field). Returns "" when written, else what stands in the way: the alias's person, or the id itself.
local alias = redis.call('HGET', KEYS[1], 'alias')
if alias and not (ARGV[2] == '1' and alias == ARGV[4]) then
  return alias
end
if ARGV[2] == '1' and not alias and redis.call('EXISTS', KEYS[1]) == 1 then
  return KEYS[1]
end
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return ''
