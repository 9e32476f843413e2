-- KEYS: the key's entry. ARGV: claimant, call sid ("" gives the claim back, "?": nobody will know of it).
-- Only the claimant's own entry is touched.
if redis.call('HGET', KEYS[1], 'by') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[2] == '?' then
  redis.call('HSET', KEYS[1], 'since', 0)
else
  redis.call('HSET', KEYS[1], 'sid', ARGV[2])
end
return 1
