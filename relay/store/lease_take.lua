-- KEYS: lease, state. ARGV: token, life of a lease in ms, how long a waiter may be silent in ms, most waiters, channel,
-- whether the conversation may be a new one ("1").
-- {epoch, 1 if the conversation exists} to whom it is given, again to whom has it, which prolongs it; else 0: wait;
-- -1: too many wait; -2: there is no such conversation on this channel.
local channel = redis.call('HGET', KEYS[2], 'channel')
if channel ~= ARGV[5] and (channel or ARGV[6] ~= '1') then
  return -2
end
local exists = channel and 1 or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, till, lease, patience = ARGV[1], now + ARGV[2], {}, tonumber(ARGV[3])
local first, own, waiters = nil, nil, 0
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local waiter = string.match(found[i], '^w:(.+)$')
  if not waiter then
    lease[found[i]] = found[i + 1]
  else
    local number, seen = string.match(found[i + 1], '^(%d+):(%d+)$')
    number = tonumber(number)
    if waiter == token then
      own = number
    elseif tonumber(seen) + patience < now then
      redis.call('HDEL', KEYS[1], found[i])
      number = nil
    end
    if number then
      waiters = waiters + 1
      first = math.min(first or number, number)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[2]), patience) * 2)
if lease.holder == token then
  redis.call('HSET', KEYS[1], 'till', string.format('%.0f', till))
  return {lease.epoch, exists}
end
local held = lease.holder and tonumber(lease.till) > now
if held or (first and first ~= own) then
  if not own then
    if waiters >= tonumber(ARGV[4]) then
      return -1
    end
    own = redis.call('HINCRBY', KEYS[1], 'count', 1)
  end
  redis.call('HSET', KEYS[1], 'w:' .. token, string.format('%.0f:%.0f', own, now))
  redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[2]), patience) * 2)
  return 0
end
local epoch = string.format('%.0f', math.max(now, tonumber(redis.call('HGET', KEYS[2], 'epoch') or 0) + 1))
redis.call('HDEL', KEYS[1], 'w:' .. token)
redis.call('HSET', KEYS[1], 'holder', token, 'till', string.format('%.0f', till), 'epoch', epoch)
redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[2]), patience) * 2)
return {epoch, exists}
