-- Lets no later transition have a place up to the given one: what is before it in the journal is
-- then all that ever will be.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the place
-- Answers OK, or COLD.

local key = KEYS[1] .. ':l'
local last = redis.call('GET', key)
if not last then return 'COLD' end
if tonumber(last) < tonumber(ARGV[1]) then redis.call('SET', key, ARGV[1]) end
return 'OK'
