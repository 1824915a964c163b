#!lua flags=allow-oom
-- publish.lua: say how far the applier has come, and which transactions are known to be visible.
-- KEYS[1] ctl    KEYS[2] fences
-- ARGV[1] gen    ARGV[2] run    ARGV[3] snapshot P of the primary    ARGV[4] pos    ARGV[5] at in µs
-- Returns 'closed', or {the snapshot that now stands}. Only grows; can be repeated.

local c = ctl_of(KEYS[1])
if not c or c.gen ~= ARGV[1] or c.run ~= ARGV[2] or field(KEYS[2], '.gen') ~= ARGV[1] then return 'closed' end
local snap = field(KEYS[2], '.snap')
if includes(ARGV[3], snap) then
  snap = ARGV[3]
  redis.call('HSET', KEYS[2], '.snap', snap)
end
c.pos = math.max(c.pos, tonumber(ARGV[4]))
c.at = math.max(c.at, tonumber(ARGV[5]))
write_ctl(KEYS[1], c)
return {snap}
