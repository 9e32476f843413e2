-- KEYS: message. ARGV: status, its rank, the rank it takes precedence of (exclusive), error, expiry in ms of what is
-- reported of a message that is not on record yet. Returns whether it is on record.
local rank = tonumber(redis.call('HGET', KEYS[1], 'rank') or '-1')
if rank < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'status', ARGV[1], 'rank', ARGV[2], 'error', ARGV[4])
end
if redis.call('HEXISTS', KEYS[1], 'kind') == 1 then
  return 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 0
