-- KEYS: effects, state. ARGV: epoch, expiry in ms, owners whose entries stay.
if not claim(KEYS[2], ARGV[1]) then
  return 0
end
local running = {}
for i = 3, #ARGV do
  running[ARGV[i]] = true
end
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  if not running[cjson.decode(entries[i + 1])['owner']] then
    redis.call('HDEL', KEYS[1], entries[i])
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
