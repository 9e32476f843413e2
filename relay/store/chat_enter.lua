-- KEYS: sockets of a visitor. ARGV: socket, life in ms, channel. The newest takes the place of all others, and their
-- processes are told.
local now = redis.call('TIME')
local others = redis.call('HKEYS', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local replaced = {}
for _, other in ipairs(others) do
  if other ~= ARGV[1] then
    replaced[#replaced + 1] = other
  end
end
if #replaced > 0 then
  redis.call('PUBLISH', ARGV[3], table.concat(replaced, '\n'))
end
return #replaced
