-- Gives tokens of records back before they end, so that whoever needs a record loads it now.
--
-- KEYS[1]  the tag of the partition
-- ARGV     target and token, for each
-- Answers OK.

local call = redis.call
local tag = KEYS[1]
for i = 1, #ARGV, 2 do
  local lock = tag .. ':k:t:' .. ARGV[i]
  if call('GET', lock) == ARGV[i + 1] then call('UNLINK', lock) end
end
return 'OK'
