-- Stands before every script that a session may run. Returns the epoch that held the conversation before this one
-- ("0": none), or false when a newer one holds it. The same at every repetition.
local function claim(state, epoch)
  local held = redis.call('HGET', state, 'epoch')
  if held and tonumber(held) > tonumber(epoch) then
    return false
  end
  if held ~= epoch then
    redis.call('HSET', state, 'epoch', epoch, 'before', held or '0')
  end
  return redis.call('HGET', state, 'before')
end
