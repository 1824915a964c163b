#!lua flags=allow-oom
-- touch.lua: the fast path's last step: give tags other versions, those of them that are there.
-- KEYS the tags    ARGV for each a random version of 16 bytes
-- Returns nothing. Can be repeated. A script, because a full Redis refuses a plain SET, and would be asked again for ever.

for i, tag in ipairs(KEYS) do redis.call('SET', tag, ARGV[i], 'XX', 'KEEPTTL') end
