#!lua flags=allow-oom
-- bump.lua: a new generation on purpose (TRUNCATE, rewriting DDL): empties the stripe, keeps its fences.
-- KEYS[1] ctl    KEYS[2] fences
-- ARGV[1] gen    ARGV[2] the new gen    ARGV[3] xid    ARGV[4] end LSN of the commit
-- Returns 'bumped' or 'closed' (then the xid, noted for the wildcard, is written by the next open).

local c = ctl_of(KEYS[1])
if not c or c.gen ~= ARGV[1] or field(KEYS[2], '.gen') ~= ARGV[1] then return 'closed' end
c.gen = ARGV[2]
write_ctl(KEYS[1], c)
redis.call('HSET', KEYS[2], '.gen', ARGV[2])
local xid = tonumber(ARGV[3])
if not visible(xid, field(KEYS[2], '.snap')) then
  redis.call('HSET', KEYS[2], '*', (field(KEYS[2], '*') or '') .. struct.pack('<I8', xid)) -- rule: a bump fences its transaction
end
raise_hi(KEYS[2], tonumber(ARGV[4]))
return 'bumped'
