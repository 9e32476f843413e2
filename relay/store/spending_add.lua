-- KEYS: the tokens of a day (hash). ARGV: the day, tokens, process, number of the addition, expiry in ms. A number that
-- the process has used before adds nothing, nor does a day that is over. Returns what was spent that day.
local day = redis.call('HGET', KEYS[1], 'day')
if day and day > ARGV[1] then
  return 0
end
if day ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'day', ARGV[1])
end
local last = redis.call('HGET', KEYS[1], 'by:' .. ARGV[3])
if not last or tonumber(last) < tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'by:' .. ARGV[3], ARGV[4])
  redis.call('HINCRBY', KEYS[1], 'tokens', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return tonumber(redis.call('HGET', KEYS[1], 'tokens') or '0')
