-- KEYS: the person's orders (hash: number -> order). ARGV: now in ms, life in ms, the order's key, the number to begin
-- with, the first and the last number there is, most orders, the order without its number (JSON with "key", "placed").
-- Returns {number, order, 1 if it is new}; false where the person has too many.
local held, kept = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #held, 2 do
  local order = cjson.decode(held[i + 1])
  if order.placed + tonumber(ARGV[2]) <= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], held[i])
  elseif order.key == ARGV[3] then
    return {held[i], held[i + 1], 0}
  else
    kept = kept + 1
  end
end
if kept >= tonumber(ARGV[7]) then
  return false
end
local number = tonumber(ARGV[4])
while redis.call('HEXISTS', KEYS[1], number) == 1 do
  number = number + 1
  if number > tonumber(ARGV[6]) then
    number = tonumber(ARGV[5])
  end
end
redis.call('HSET', KEYS[1], number, ARGV[8])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {tostring(number), ARGV[8], 1}
