-- Notes in which partitions users write, where reads of the users' side find it.
--
-- KEYS[1]  the tag of the users' own partition
-- ARGV     seconds to live, then user and partition for each
-- Answers OK.

local call = redis.call
for i = 2, #ARGV, 2 do
  local key = KEYS[1] .. ':u:' .. ARGV[i]
  call('SADD', key, ARGV[i + 1])
  call('EXPIRE', key, ARGV[1])
end
return 'OK'
