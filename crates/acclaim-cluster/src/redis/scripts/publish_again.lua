-- Has what the ledger lacks published again, because something never came. Whoever is publishing
-- now finds the mark moved and begins again too.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the turn in which what came was published
-- Answers OK, or NO where the mark is of another turn.

local call = redis.call
local key = KEYS[1] .. ':p'
local turn = string.match(call('GET', key) or '', '^(%d+) ')
if turn ~= ARGV[1] then return 'NO' end
call('SET', key, turn .. ' 0')
return 'OK'
