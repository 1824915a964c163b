#!lua
-- lease.lua: the right to fill some keys, each lease carrying all that has been applied to its key: a snapshot plus exceptions.
-- KEYS[1] ctl    KEYS[2] fences    then for each key: its lease, its value
-- ARGV[1] run    ARGV[2] lease_ms
-- then for each key: its field in fences, the lease's token of 16 bytes, the id of the entry that the caller could not serve or ''
-- Returns 'closed', or {gen, now in µs, hi, a letter for each key}: L leased, H a usable value is there, B somebody else has the lease.
-- Without allow-oom: a full Redis refuses it whole. Without the first line it would go on, once it had removed something.

local c = ctl_of(KEYS[1])
if not c or c.run ~= ARGV[1] then return 'closed' end
if field(KEYS[2], '.gen') ~= c.gen then return 'closed' end -- rule: no lease while the fences are lost
local snap, hi = field(KEYS[2], '.snap'), field(KEYS[2], '.hi')
local wildcard = hidden(field(KEYS[2], '*'), snap)

-- What can be asked once for all keys is: a call costs more than all else that is done here for a key.
local leases, values, fields = {}, {}, {}
for i = 3, #KEYS, 2 do
  local n = #leases + 1
  leases[n], values[n], fields[n] = KEYS[i], KEYS[i + 1], ARGV[3 * n]
end
local fences = redis.call('HMGET', KEYS[2], unpack(fields))
local some_value = redis.call('EXISTS', unpack(values)) > 0
local held = {}
for n, packed in ipairs(redis.call('MGET', unpack(leases))) do held[leases[n]] = lease_of(packed) end

local outcomes, granted = {}, struct.pack('<H', (#snap - 16) / 8) .. c.gen .. hi .. snap
for n, lease in ipairs(leases) do
  local token, seen = ARGV[3 * n + 1], ARGV[3 * n + 2]
  local head = some_value and head_of(values[n])
  if head and entry_gen(head) == c.gen and entry_id(head) ~= seen then
    outcomes[n] = 'H'
  elseif held[lease] then
    outcomes[n] = 'B'
  else
    local xids = wildcard
    xids = xids .. hidden(fences[n], snap) -- rule: a lease carries the fences
    held[lease] = '\1' .. token .. granted .. xids
    redis.call('SET', lease, held[lease], 'PX', ARGV[2])
    outcomes[n] = 'L'
  end
end
local now = redis.call('TIME')
return {c.gen, now[1] * 1000000 + now[2], number(hi), table.concat(outcomes)}
