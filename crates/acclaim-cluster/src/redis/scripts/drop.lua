-- Takes the token of a target's record and drops the record, only where the ledger has its last
-- transition: from here on nothing is decided on it until it is loaded again, and the ledger's rows
-- do not change.
--
-- Buckets are left to end by their TTL: the next record's have other names.
--
-- KEYS[1]  the tag of the partition
-- ARGV     token, milliseconds the token lives, target
-- Answers OK and the count it had, or nothing for the count where it was not there; BEHIND where
-- the ledger lacks its last transition; HELD where another loads it; COLD for the partition.

local call = redis.call
local tag = KEYS[1]
local token, lives, name = unpack(ARGV)
local durable = tonumber(call('GET', tag .. ':d'))
if not durable then return { 'COLD' } end
local key = tag .. ':t:' .. name
local found = call('HMGET', key, '#c', '#r')
if found[1] then
  if tonumber(found[2]) > durable then return { 'BEHIND' } end
  call('SET', tag .. ':k:t:' .. name, token, 'PX', lives)
  call('UNLINK', key, tag .. ':n:' .. name)
  return { 'OK', found[1] }
end
if call('SET', tag .. ':k:t:' .. name, token, 'NX', 'PX', lives) then return { 'OK' } end
return { 'HELD' }
