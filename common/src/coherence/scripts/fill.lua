#!lua
-- fill.lua: put entries under keys, each if its proof covers all that its lease has been told of.
-- KEYS[1] ctl    then for each key: its lease, its value
-- ARGV[1] run    ARGV[2] source of the session that read    then for each key: lease token, ttl_ms, entry (made for the lease's generation)
-- Returns a letter for each key: F filled, L the lease is lost, C closed, O too old. A repeat answers L.
-- An empty entry gives the lease back: it is of no generation, hence C.
-- Without allow-oom: a full Redis refuses it whole. Without the first line it would go on, once it had removed something.

local c = ctl_of(KEYS[1])
local open = c and c.run == ARGV[1] and c.source == ARGV[2]

local leases = {}
for i = 2, #KEYS, 2 do leases[i / 2] = KEYS[i] end
local held = {}
for n, packed in ipairs(redis.call('MGET', unpack(leases))) do held[leases[n]] = lease_of(packed) end

local snap, granted, is_included -- entries read together share a proof, and leases granted together a snapshot
local used = {}
local function fill(lease, value, token, ttl_ms, entry)
  local l = held[lease]
  if not l or string.sub(l, 4, 19) ~= token then return 'L' end
  held[lease], used[#used + 1] = nil, lease
  if not open or c.gen ~= string.sub(l, 20, 35) or entry_gen(entry) ~= c.gen then return 'C' end
  local _, flags, running = struct.unpack('<BBH', entry)
  if flags % 2 == 1 then
    if number(string.sub(entry, 37, 44)) < number(string.sub(l, 36, 43)) then return 'O' end
  else
    local proof = string.sub(entry, 37, 52) .. string.sub(entry, 61, 60 + 8 * running)
    local xids_at = 60 + 8 * struct.unpack('<H', l, 2)
    local l_snap, l_xids = string.sub(l, 44, xids_at - 1), string.sub(l, xids_at)
    if proof ~= snap or l_snap ~= granted then snap, granted, is_included = proof, l_snap, includes(proof, l_snap) end
    if not is_included then return 'O' end -- rule: a fill includes its lease's snapshot
    if hidden(l_xids, proof) ~= '' then return 'O' end -- rule: a fill sees what its lease was told
  end
  redis.call('SET', value, entry, 'PX', ttl_ms)
  return 'F'
end

local outcomes = {}
for n, lease in ipairs(leases) do outcomes[n] = fill(lease, KEYS[2 * n + 1], ARGV[3 * n], ARGV[3 * n + 1], ARGV[3 * n + 2]) end
if #used > 0 then redis.call('DEL', unpack(used)) end
return table.concat(outcomes)
