-- KEYS: person's tours. ARGV: person, now (s), what the key of a day begins with. Frees the tours to come, takes the
-- person off those that were, and deletes the index. Returns how many were freed. The days' keys are made here from
-- the index: they carry the same hash tag.
local freed = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local day, slot = string.match(member, '^(%S+) (.+)$')
  local key = ARGV[3] .. day
  if redis.call('HGET', key, slot) == ARGV[1] then
    if tonumber(redis.call('ZSCORE', KEYS[1], member)) > tonumber(ARGV[2]) then
      redis.call('HSET', key, slot, '')
      freed = freed + 1
    else
      redis.call('HDEL', key, slot)
    end
  end
end
redis.call('DEL', KEYS[1])
return freed
