-- KEYS: log, state. ARGV: jump, most kept, ttl in ms, and that of a log whose conversation is not there yet. Marks that
-- a turn is open; returns the number its frames count on from, and that of the last frame there is.
-- A last entry that ends no turn is of a process that is gone, or lost the conversation: what it may have sent beyond,
-- and will perhaps still write, stays below the number.
local last, over = 0, true
local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if found then
  over = false
  last = tonumber(string.match(found[1], '^(%d+)'))
  for place = 1, #found[2], 2 do
    if found[2][place] == 'f' then
      last = last + select(2, string.gsub(found[2][place + 1], '\n', '\n'))
    elseif found[2][place] == 'e' then
      over = true
    end
  end
end
local from = over and last or last + tonumber(ARGV[1])
local id = string.format('%.0f-1', from)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, 'b', string.format('%.0f', last))
redis.call('PEXPIRE', KEYS[1], redis.call('EXISTS', KEYS[2]) == 1 and ARGV[3] or ARGV[4])
return {from, last}
