-- KEYS: person. ARGV: expiry in ms (0: none), expiry in ms of what begins here, 1 to write only where there is nothing
-- else, then field, value ... ("" removes the field). Returns "" when written, else what stands in the way: the alias's
-- person, or the id itself.
local alias = redis.call('HGET', KEYS[1], 'alias')
if alias and not (ARGV[3] == '1' and alias == ARGV[5]) then
  return alias
end
local new = redis.call('EXISTS', KEYS[1]) == 0
if ARGV[3] == '1' and not alias and not new then
  return KEYS[1]
end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
elseif new and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return ''
