#!lua flags=allow-oom
-- apply.lua: carry out one change on the dependencies that it touches.
-- KEYS[1] ctl    KEYS[2] fences    then for each key: its lease, its value; for each tag: the tag; nothing for the wildcard
-- ARGV[1] the applier's generation, or '' before it has one    ARGV[2] xid    ARGV[3] end LSN of the commit
-- then for each dependency: 'k', 't' or '*', its field in fences, and for a key the entry that replaces an older one or '' to remove
-- it, for a tag a random version of 16 bytes, for the wildcard ''
-- Returns how many values were {removed, replaced}. Can be repeated and reordered. Note xid, dependencies and end in memory before.

local gen, xid, commit_end = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local c = ctl_of(KEYS[1])
local fenced = gen ~= '' and field(KEYS[2], '.gen') == gen
local in_gap = false
if fenced then
  in_gap = not visible(xid, field(KEYS[2], '.snap'))
  raise_hi(KEYS[2], commit_end)
end
local packed = struct.pack('<I8', xid)
local removed, replaced = 0, 0

local function covers(value, head)
  local _, flags, running, _, _, low, high = struct.unpack('<BBHc16c16I8I8', head)
  if flags % 2 == 1 then return low >= commit_end end
  local snap = struct.pack('<I8I8', low, high)
  if running > 0 and xid >= low and xid < high then
    local xids = redis.call('GETRANGE', value, 60, 59 + 8 * running)
    if #xids < 8 * running then return false end -- cut short
    snap = snap .. xids
  end
  return visible(xid, snap)
end

local function apply_key(lease, value, image)
  local head = head_of(value)
  if not head then
    removed = removed + redis.call('DEL', value) -- nothing there, or garbage
  elseif not covers(value, head) then
    -- "Same gen": an image over an entry of another generation would bring to life what may lack a later change.
    if image ~= '' and c and c.gen == gen and entry_gen(image) == gen and entry_gen(head) == gen then
      redis.call('SET', value, image, 'KEEPTTL')
      replaced = replaced + 1
    else
      removed = removed + redis.call('DEL', value)
    end
  end
  local held = redis.pcall('GETRANGE', lease, 0, 58)
  if type(held) == 'string' and lease_of(held) then
    redis.call('APPEND', lease, packed) -- rule: a live lease is told of the change
    if number(string.sub(held, 36, 43)) < commit_end then redis.call('SETRANGE', lease, 35, struct.pack('<I8', commit_end)) end
  end
end

local key = 3
for at = 4, #ARGV, 3 do
  local kind, name, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == 'k' then
    apply_key(KEYS[key], KEYS[key + 1], payload)
    key = key + 2
  elseif kind == 't' then
    if redis.call('EXISTS', KEYS[key]) == 1 then redis.call('SET', KEYS[key], payload, 'KEEPTTL') end -- rule: a tag changes its version
    key = key + 1
  end
  if in_gap then
    local xids = field(KEYS[2], name) or ''
    -- The same change twice in a row adds nothing; any other repeat is settled together with the first.
    if string.sub(xids, -8) ~= packed then redis.call('HSET', KEYS[2], name, xids .. packed) end -- rule: apply fences what is in the gap
  end
end
return {removed, replaced}
