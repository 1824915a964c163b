#!lua flags=allow-oom
-- raise.lua: the fast path's first step: say how far the changes of a batch reach, before their keys are unlinked.
-- KEYS[1] fences
-- ARGV[1] the applier's generation    ARGV[2] the highest end LSN of the batch
-- Returns nothing. Only grows; can be repeated.

if field(KEYS[1], '.gen') == ARGV[1] then raise_hi(KEYS[1], tonumber(ARGV[2])) end
