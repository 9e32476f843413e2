-- KEYS: sockets of a visitor. ARGV: socket, life in ms. 0 where another one has taken its place.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
