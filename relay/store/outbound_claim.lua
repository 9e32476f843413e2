-- KEYS: the calls of the last minute (sorted set, score = ms), the key's entry. ARGV: now in ms, window in ms, most
-- calls in a window, claimant, 1 if there is a key, fingerprint of what is asked, expiry of the entry in ms.
-- Returns {'claimed'}, {'done', call sid}, {'pending', since in ms}, {'other'} or {'rate', ms to wait}.
if ARGV[5] == '1' then
  local held = redis.call('HMGET', KEYS[2], 'by', 'asked', 'sid', 'since')
  if held[1] and held[1] ~= ARGV[4] then
    if held[2] ~= ARGV[6] then
      return { 'other' }
    end
    if held[3] then
      return { 'done', held[3] }
    end
    return { 'pending', held[4] }
  end
end
local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if not redis.call('ZSCORE', KEYS[1], ARGV[4]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return { 'rate', tostring(math.max(1, tonumber(first[2]) + window - now)) }
  end
  redis.call('ZADD', KEYS[1], now, ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], window)
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[2], 'by', ARGV[4], 'asked', ARGV[6], 'since', ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
return { 'claimed' }
