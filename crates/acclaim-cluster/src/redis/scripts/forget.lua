-- Drops a target's record, so that it is loaded anew: the ledger was changed past Redis.
-- Only while the ledger has the record's last transition. A load under way loses its token, since
-- it may have read the ledger before the change; the buckets of the record go by their own TTL,
-- and no later layout has their names.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the target
-- Answers OK, or LATER where the ledger does not have all of it yet.

local call = redis.call
local tag, name = KEYS[1], ARGV[1]
local record = tag .. ':t:' .. name
local seq = call('HGET', record, '#r')
local durable = call('GET', tag .. ':d')
if seq and (not durable or tonumber(seq) > tonumber(durable)) then return 'LATER' end
call('UNLINK', record, tag .. ':n:' .. name, tag .. ':k:t:' .. name)
return 'OK'
