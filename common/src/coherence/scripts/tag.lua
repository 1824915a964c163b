#!lua
-- tag.lua: the versions of some tags, each made if it is not there, with what a page read after this must have seen.
-- KEYS[1] ctl    KEYS[2] fences    KEYS[3..] the tags
-- ARGV[1] run    ARGV[2] ttl_ms, longer than any value's    then for each tag: its field in fences, a random version of 16 bytes
-- Returns 'closed', or {gen, snap, hi, then for each tag: version, xids}. A page's snapshot has to include snap and see the xids.
-- A lost tag comes back with a version that no page has. Can be repeated.
-- Without allow-oom: a full Redis refuses it whole. Without the first line it would go on, once it had removed something.

local c = ctl_of(KEYS[1])
if not c or c.run ~= ARGV[1] or field(KEYS[2], '.gen') ~= c.gen then return 'closed' end
local snap = field(KEYS[2], '.snap')
local wildcard = field(KEYS[2], '*')
local reply = {c.gen, snap, number(field(KEYS[2], '.hi'))}
for i = 3, #KEYS do
  local at = 3 + (i - 3) * 2
  local version = text(KEYS[i])
  if version and #version == 16 then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  else
    version = ARGV[at + 1]
    redis.call('SET', KEYS[i], version, 'PX', ARGV[2])
  end
  local xids = ''
  xids = xids .. hidden(field(KEYS[2], ARGV[at]), snap) -- rule: a tag answers with its fences
  xids = xids .. hidden(wildcard, snap) -- rule: a tag answers with the wildcard's fences
  reply[#reply + 1] = version
  reply[#reply + 1] = xids
end
return reply
