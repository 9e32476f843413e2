-- KEYS: call. ARGV: expiry in ms, sequence, then field, value ...
-- Returns 1 when this status is newer than all that were written, else 0 and nothing changes.
local held = redis.call('HGET', KEYS[1], 'sequence')
if held and tonumber(held) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
