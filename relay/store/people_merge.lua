-- KEYS: person. ARGV: "call" (what is known of a call takes the place of what was) or "person" (another one's fields:
-- those that are there stay), most calls, most characters of notes, then field, value ...
-- A call is kept only of a person who is known and wants to be remembered. Returns the alias's person where the id is an
-- alias, else "".
local person = KEYS[1]
local alias = redis.call('HGET', person, 'alias')
if alias then
  return alias
end
if ARGV[1] == 'call' and (redis.call('EXISTS', person) == 0 or redis.call('HGET', person, 'memory') == 'off') then
  return ''
end

local function cut(text, most)  -- characters are not bytes: what continues one begins with the bits 10
  local count = 0
  for i = 1, #text do
    local byte = text:byte(i)
    if byte < 128 or byte >= 192 then
      count = count + 1
      if count > most then
        return text:sub(1, i - 1)
      end
    end
  end
  return text
end

for i = 4, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  local own = redis.call('HGET', person, field)
  if ARGV[1] == 'call' or not own or field == 'memory' then
    if field ~= 'memory' or own ~= 'off' then
      redis.call('HSET', person, field, value)
    end
  elseif field == 'notes' and not own:find(value, 1, true) then
    redis.call('HSET', person, field, cut(own .. ' ' .. value, tonumber(ARGV[3])))
  elseif field == 'first_seen' and tonumber(value) < tonumber(own) then
    redis.call('HSET', person, field, value)
  elseif field == 'last_seen' and tonumber(value) > tonumber(own) then
    redis.call('HSET', person, field, value)
  end
end

local forget = redis.call('HGET', person, 'memory') == 'off'
local calls = {}
for _, field in ipairs(redis.call('HKEYS', person)) do
  if field:sub(1, 5) == 'call:' then
    calls[#calls + 1] = {field, cjson.decode(redis.call('HGET', person, field))['at']}
  end
end
table.sort(calls, function(one, other) return one[2] > other[2] end)
for i = forget and 1 or tonumber(ARGV[2]) + 1, #calls do
  redis.call('HDEL', person, calls[i][1])
end
if ARGV[1] == 'person' and #ARGV > 3 then
  redis.call('PERSIST', person)
end
return ''
