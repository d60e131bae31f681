-- Puts the newest entries of a large target in place, unless there was a transition since they
-- were gathered. The list is a cache: it may be evicted at any time.
--
-- KEYS[1]  the tag of the partition
-- ARGV     target, seq of the target's last transition that is in them, milliseconds to live,
--          then '<user> <rev>', newest first
-- Answers OK or LOST.

local call = redis.call
local key = KEYS[1] .. ':n:' .. ARGV[1]
if call('HGET', KEYS[1] .. ':t:' .. ARGV[1], '#r') ~= ARGV[2] then return 'LOST' end
call('UNLINK', key)
call('RPUSH', key, unpack(ARGV, 4))
call('PEXPIRE', key, ARGV[3])
return 'OK'
