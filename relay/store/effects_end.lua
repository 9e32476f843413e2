-- KEYS: effects. ARGV: expiry in ms, field, owner, the entry that takes its place ("" removes it).
-- Only the owner's own entry is touched, whatever the epoch: it is the truth about something that has happened.
local found = redis.call('HGET', KEYS[1], ARGV[2])
if not found or cjson.decode(found)['owner'] ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
