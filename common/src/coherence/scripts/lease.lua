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
local outcomes = {}
for i = 3, #KEYS, 2 do
  local lease, value = KEYS[i], KEYS[i + 1]
  local at = 3 + (i - 3) / 2 * 3
  local head = head_of(value)
  if head and entry_gen(head) == c.gen and entry_id(head) ~= ARGV[at + 2] then
    outcomes[#outcomes + 1] = 'H'
  elseif field(lease, 'token') then
    outcomes[#outcomes + 1] = 'B'
  else
    local xids = wildcard
    xids = xids .. hidden(field(KEYS[2], ARGV[at]), snap) -- rule: a lease carries the fences
    redis.call('DEL', lease)
    redis.call('HSET', lease, 'token', ARGV[at + 1], 'gen', c.gen, 'snap', snap, 'xids', xids, 'hi', hi)
    redis.call('PEXPIRE', lease, ARGV[2])
    outcomes[#outcomes + 1] = 'L'
  end
end
local now = redis.call('TIME')
return {c.gen, now[1] * 1000000 + now[2], number(hi), table.concat(outcomes)}
