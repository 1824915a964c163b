#!lua flags=allow-oom
-- settle.lua: drop the fences of transactions that the published snapshot sees.
-- KEYS[1] ctl    KEYS[2] fences
-- ARGV[1] gen    ARGV[2] run    ARGV[3..] fields of fences, at most 256; the wildcard's is settled with any of them
-- Returns 'closed', or how many of these fields still hold something. Can be repeated.

local c = ctl_of(KEYS[1])
if not c or c.gen ~= ARGV[1] or c.run ~= ARGV[2] or field(KEYS[2], '.gen') ~= ARGV[1] then return 'closed' end
local snap = field(KEYS[2], '.snap')
local function settle(name)         -- whether anything is left of the field
  local xids = field(KEYS[2], name)
  local left = ''
  left = hidden(xids, snap) -- rule: a fence stays until a polled snapshot sees it
  if left == '' then
    redis.call('HDEL', KEYS[2], name)
  elseif #left < #xids then
    redis.call('HSET', KEYS[2], name, left)
  end
  return left ~= ''
end

settle('*')
local held = 0
for i = 3, #ARGV do
  if settle(ARGV[i]) then held = held + 1 end
end
return held
