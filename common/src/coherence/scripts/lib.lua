-- lib.lua: what the scripts share: the bytes of ctl, snapshots, fences and entries, and the visibility rule.
--
-- Layouts (little-endian; "I8" is a double in Lua, exact below 2^53, which Rust asserts where a number enters):
--   ctl      format u8 = 1, gen 16, run 40, pos u64, at u64, source text
--   snapshot xmin u64, xmax u64, then each running xid u64
--   xids     each xid u64
--   entry    format u8 = 1, flags u8 (1: the proof is an LSN), running u16, id 16, gen 16, xmin or lsn u64, xmax u64, read_at u64,
--            then each running xid u64; what follows is not read here
--   lease    format u8 = 1, token 16, running u16, gen 16, hi u64, then the snapshot: xmin u64, xmax u64, each running xid u64; then
--            xids: what the snapshot does not see and the lease has been told of, which grows at its end

local function text(key)            -- a string, or nil where the key is absent or of another type
  local value = redis.pcall('GET', key)
  if type(value) == 'string' then return value end
end

local function field(key, name)     -- a hash field, or nil where the key is absent or of another type
  local value = redis.pcall('HGET', key, name)
  if type(value) == 'string' then return value end
end

local function ctl_of(key)
  local packed = text(key)
  if not packed or #packed < 73 or string.byte(packed, 1) ~= 1 then return nil end
  local _, gen, run, pos, at = struct.unpack('<Bc16c40I8I8', packed)
  return {gen = gen, run = run, pos = pos, at = at, source = string.sub(packed, 74)}
end

local function write_ctl(key, c)
  redis.call('SET', key, struct.pack('<Bc16c40I8I8', 1, c.gen, c.run, c.pos, c.at) .. c.source)
end

local function number(packed) return (struct.unpack('<I8', packed)) end

local function visible(xid, snap)   -- whether a read under this snapshot saw what xid committed
  local xmin, xmax = struct.unpack('<I8I8', snap)
  if xid < xmin then return true end
  if xid >= xmax then return false end
  for i = 17, #snap, 8 do if struct.unpack('<I8', snap, i) == xid then return false end end
  return true
end

local function includes(snap, other)  -- whether snap sees all that other sees
  if snap == other then return true end
  local _, xmax = struct.unpack('<I8I8', snap)
  local _, other_xmax = struct.unpack('<I8I8', other)
  if xmax < other_xmax then return false end
  local running
  for i = 17, #snap, 8 do
    local xid = struct.unpack('<I8', snap, i)
    if xid < other_xmax then
      if not running then
        running = {}
        for j = 17, #other, 8 do running[(struct.unpack('<I8', other, j))] = true end
      end
      if not running[xid] then return false end
    end
  end
  return true
end

local function hidden(xids, snap)   -- those of the xids that the snapshot does not see
  if not xids or xids == '' then return '' end
  local left = {}
  for i = 1, #xids, 8 do
    if not visible(struct.unpack('<I8', xids, i), snap) then left[#left + 1] = string.sub(xids, i, i + 7) end
  end
  return table.concat(left)
end

local function entry_gen(head) return string.sub(head, 21, 36) end
local function entry_id(head) return string.sub(head, 5, 20) end

local function head_of(key)         -- the 60 fixed bytes of an entry, or nil where there is none that this version reads
  local head = redis.pcall('GETRANGE', key, 0, 59)
  if type(head) == 'string' and #head == 60 and string.byte(head, 1) == 1 then return head end
end

local function lease_of(packed)     -- what stands under a lease's key as MGET tells it, or nil where that is no lease of this version
  if packed and #packed >= 59 and string.byte(packed, 1) == 1 then return packed end
end

local function raise_hi(fences, at_least)
  local hi = field(fences, '.hi')
  if not hi or number(hi) < at_least then redis.call('HSET', fences, '.hi', struct.pack('<I8', at_least)) end
end
