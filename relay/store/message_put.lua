-- KEYS: message. ARGV: expiry in ms, kind, conversation, person, sent (ms), the status it has at first.
-- A report of its status may have been faster, and stays.
redis.call('HSETNX', KEYS[1], 'status', ARGV[6])
redis.call('HSETNX', KEYS[1], 'rank', 0)
redis.call('HSETNX', KEYS[1], 'sent', ARGV[5])
redis.call('HSET', KEYS[1], 'kind', ARGV[2], 'conversation', ARGV[3], 'person', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
