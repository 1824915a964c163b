#!lua
-- fill.lua: put entries under keys, each if its proof covers all that its lease has been told of.
-- KEYS[1] ctl    then for each key: its lease, its value
-- ARGV[1] run    ARGV[2] source of the session that read    then for each key: lease token, ttl_ms, entry (made for the lease's generation)
-- Returns a letter for each key: F filled, L the lease is lost, C closed, O too old. A repeat answers L.
-- An empty entry gives the lease back: it is of no generation, hence C.
-- Without allow-oom: a full Redis refuses it whole. Without the first line it would go on, once it had removed something.

local c = ctl_of(KEYS[1])
local outcomes = {}
local function fill(lease, value, token, ttl_ms, entry)
  local l = redis.pcall('HMGET', lease, 'token', 'gen', 'snap', 'xids', 'hi')
  if l[1] ~= token then return 'L' end
  redis.call('DEL', lease)
  if not c or c.run ~= ARGV[1] or c.gen ~= l[2] or entry_gen(entry) ~= c.gen or c.source ~= ARGV[2] then return 'C' end
  local _, flags, running, _, _, low, high = struct.unpack('<BBHc16c16I8I8', entry)
  if flags % 2 == 1 then
    if low < number(l[5]) then return 'O' end
  else
    local snap = struct.pack('<I8I8', low, high) .. string.sub(entry, 61, 60 + 8 * running)
    if not includes(snap, l[3]) then return 'O' end -- rule: a fill includes its lease's snapshot
    if hidden(l[4], snap) ~= '' then return 'O' end -- rule: a fill sees what its lease was told
  end
  redis.call('SET', value, entry, 'PX', ttl_ms)
  return 'F'
end
for i = 2, #KEYS, 2 do
  local at = 3 + (i - 2) / 2 * 3
  outcomes[#outcomes + 1] = fill(KEYS[i], KEYS[i + 1], ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return table.concat(outcomes)
