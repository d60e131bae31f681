-- How far a partition is.
--
-- KEYS[1]  the tag of the partition
-- Answers the last place given, the place up to which the ledger has everything, the place after
-- which the journal has everything, the place of the newest transition, and the time in
-- microseconds; or nothing: the partition is cold.

local call = redis.call
local tag = KEYS[1]
local places = call('MGET', tag .. ':l', tag .. ':d', tag .. ':h')
if not places[1] then return {} end
local time = call('TIME')
local newest = call('XREVRANGE', tag .. ':j', '+', '-', 'COUNT', 1)[1]
-- An empty journal: what was in it is in the ledger.
newest = newest and string.match(newest[1], '^%d+') or places[2] or '0'
local removed = places[3] and string.match(places[3], ' (%d+)$') or '0'
return { places[1], places[2] or '0', removed, newest,
  string.format('%.0f', time[1] * 1000000 + time[2]) }
