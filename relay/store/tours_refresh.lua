-- KEYS: days. ARGV, a JSON object for each: ttl (ms until the day is over, 0 or less when it is), past (an open slot
-- whose time is this or earlier is removed), plan (the slots the day is to have, or false to add none and keep what is
-- open). Slots that somebody holds stay. Returns {made}, {removed}, each as "number of the day|slot".
local made, removed = {}, {}
for number, key in ipairs(KEYS) do
  local day = cjson.decode(ARGV[number])
  local planned = {}
  if day.plan then
    for _, slot in ipairs(day.plan) do
      planned[slot] = true
    end
  end
  local slots = redis.call('HGETALL', key)
  for i = 1, #slots, 2 do
    local slot = slots[i]
    if slots[i + 1] == '' and (string.sub(slot, 1, 5) <= day.past or (day.plan and not planned[slot])) then
      redis.call('HDEL', key, slot)
      removed[#removed + 1] = number .. '|' .. slot
    end
  end
  if day.plan then
    for _, slot in ipairs(day.plan) do
      if string.sub(slot, 1, 5) > day.past and redis.call('HSETNX', key, slot, '') == 1 then
        made[#made + 1] = number .. '|' .. slot
      end
    end
  end
  if day.ttl > 0 then
    redis.call('PEXPIRE', key, day.ttl)
  end
end
return {made, removed}
