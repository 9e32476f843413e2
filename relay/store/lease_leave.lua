-- KEYS: lease. ARGV: token. Gives it back, or waits for it no longer.
redis.call('HDEL', KEYS[1], 'w:' .. ARGV[1])
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'holder', 'till', 'epoch')
end
local left = redis.call('HKEYS', KEYS[1])
if #left == 0 or (#left == 1 and left[1] == 'count') then
  redis.call('DEL', KEYS[1])
end
return 1
