-- KEYS: conversations of a visitor. ARGV: agent, name of a new conversation, ms that are kept at least. The conversation.
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return found or ARGV[2]
