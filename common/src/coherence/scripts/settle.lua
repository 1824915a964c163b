#!lua flags=allow-oom
-- settle.lua: drop the fences of transactions that the published snapshot sees.
-- KEYS[1] ctl    KEYS[2] fences
-- ARGV[1] gen    ARGV[2] run    ARGV[3..] fields of fences, at most 256
-- Returns 'closed', or how many fields still hold something. Can be repeated.

local c = ctl_of(KEYS[1])
if not c or c.gen ~= ARGV[1] or c.run ~= ARGV[2] or field(KEYS[2], '.gen') ~= ARGV[1] then return 'closed' end
local snap = field(KEYS[2], '.snap')
local held = 0
for i = 3, #ARGV do
  local xids = field(KEYS[2], ARGV[i])
  if xids then
    local left = ''
    left = hidden(xids, snap) -- rule: a fence stays until a polled snapshot sees it
    if left == '' then
      redis.call('HDEL', KEYS[2], ARGV[i])
    else
      held = held + 1
      if #left < #xids then redis.call('HSET', KEYS[2], ARGV[i], left) end
    end
  end
end
return held
