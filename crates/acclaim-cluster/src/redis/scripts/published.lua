-- Notes up to which place the journal was published, if it stands where it stood when it was read
-- on from there: of two who publish at once one notes it, and what was asked to be published again
-- is not passed over.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  how it stood, as text; empty where it was never noted
-- ARGV[2]  how it stands now: the turn of the seat and the place
-- Answers OK, OTHER where it stands elsewhere, COLD where the partition is cold.

local call = redis.call
local tag = KEYS[1]
if call('EXISTS', tag .. ':l') == 0 then return 'COLD' end
local found = call('GET', tag .. ':p') or ''
-- The reply to the same call may have been lost.
if found == ARGV[2] then return 'OK' end
if found ~= ARGV[1] then return 'OTHER' end
call('SET', tag .. ':p', ARGV[2])
return 'OK'
