#!lua flags=allow-oom
-- open.lua: begin to serve under a new generation.
-- KEYS[1] ctl    KEYS[2] fences
-- ARGV[1] the generation that stands there now, or '' for none    ARGV[2] the new one    ARGV[3] run    ARGV[4] source
-- ARGV[5] snapshot P    ARGV[6] hi: at least every end LSN noted    ARGV[7] pos
-- then for each dependency with a transaction that P does not see: its field in fences, the xids
-- Returns 'opened', 'closed' (another generation stands there: an open whose reply was lost may run late), or 'deposed' (the cache belongs
-- to a later timeline of the same system). Not repeatable: the second run answers 'closed'.

local c = ctl_of(KEYS[1])
if (c and c.gen or '') ~= ARGV[1] then return 'closed' end
if c then
  local system, timeline = string.match(c.source, '^(%d+)/(%d+)/')
  local my_system, my_timeline = string.match(ARGV[4], '^(%d+)/(%d+)/')
  if system == my_system and tonumber(timeline) > tonumber(my_timeline) then return 'deposed' end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], '.gen', ARGV[2], '.snap', ARGV[5], '.hi', struct.pack('<I8', tonumber(ARGV[6])))
for i = 8, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) -- rule: open writes the pending xids
end
write_ctl(KEYS[1], {gen = ARGV[2], run = ARGV[3], pos = tonumber(ARGV[7]), at = 0, source = ARGV[4]})
return 'opened'
