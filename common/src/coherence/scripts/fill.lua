#!lua
-- fill.lua: put entries under keys, each if its proof covers all that its lease has been told of.
-- KEYS[1] ctl    then for each key: its lease, its value
-- ARGV[1] run    ARGV[2] source of the session that read    then for each key: lease token, ttl_ms, entry (made for the lease's generation)
-- Returns a letter for each key: F filled, L the lease is lost, C closed, O too old. A repeat answers L.
-- An empty entry gives the lease back: it is of no generation, hence C.
-- Without allow-oom: a full Redis refuses it whole. Without the first line it would go on, once it had removed something.

local c = ctl_of(KEYS[1])
local open = c and c.run == ARGV[1] and c.source == ARGV[2]

local function refusal(flags, proof, granted)  -- C, O, or nil where an entry of this proof may stand under a lease granted like this
  if not open or string.sub(proof, 1, 16) ~= c.gen or string.sub(granted, 3, 18) ~= c.gen then return 'C' end
  if flags % 2 == 1 then
    if number(string.sub(proof, 17, 24)) < number(string.sub(granted, 19, 26)) then return 'O' end
    return nil
  end
  local snap = string.sub(proof, 17, 32) .. string.sub(proof, 41)
  local xids_at = 43 + 8 * struct.unpack('<H', granted)
  if not includes(snap, string.sub(granted, 27, xids_at - 1)) then return 'O' end -- rule: a fill includes its lease's snapshot
  if hidden(string.sub(granted, xids_at), snap) ~= '' then return 'O' end -- rule: a fill sees what its lease was told
end

local leases = {}
for i = 2, #KEYS, 2 do leases[i / 2] = KEYS[i] end
local held = {}
for n, packed in ipairs(redis.call('MGET', unpack(leases))) do held[leases[n]] = lease_of(packed) end

local outcomes, used = {}, {}
local head, flags, running, proof, granted, refused -- of the key before: most of one call have them in common
for n, lease in ipairs(leases) do
  local l, entry = held[lease], ARGV[3 * n + 2]
  if not l or string.sub(l, 2, 17) ~= ARGV[3 * n] then
    outcomes[n] = 'L'
  else
    held[lease], used[#used + 1] = nil, lease
    local its_head, its_granted = string.sub(entry, 1, 4), string.sub(l, 18)
    if its_head ~= head then
      head, flags, running, proof = its_head, 0, 0, nil
      if head ~= '' then flags, running = select(2, struct.unpack('<BBH', head)) end
    end
    local its_proof = string.sub(entry, 21, 60 + 8 * running)
    if its_proof ~= proof or its_granted ~= granted then
      proof, granted, refused = its_proof, its_granted, refusal(flags, its_proof, its_granted)
    end
    outcomes[n] = refused or 'F'
    if not refused then redis.call('SET', KEYS[2 * n + 1], entry, 'PX', ARGV[3 * n + 1]) end
  end
end
if #used > 0 then redis.call('DEL', unpack(used)) end
return table.concat(outcomes)
