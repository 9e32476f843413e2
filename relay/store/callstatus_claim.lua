-- KEYS: call. ARGV: expiry in ms, field, value, claimant.
-- Returns 1 for who wrote the field first, also when it asks again; else 0 and nothing changes.
local by = ARGV[2] .. '_by'
local held = redis.call('HGET', KEYS[1], by)
if held and held ~= ARGV[4] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3], by, ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
