-- Removes kept answers of one key that nobody asks for any more, before their time.
--
-- KEYS[1]  the tag of the partition
-- ARGV     the time in microseconds (0 to take the server's), shelf, then the fields

local call, format = redis.call, string.format
local tag = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local shelf = ARGV[2]
local today = math.floor(now / 86400000000)
for day = today, today - 1, -1 do
  local answers = tag .. ':i:' .. format('%d', day) .. ':' .. shelf
  for at = 3, #ARGV do
    call('HDEL', answers, ARGV[at])
  end
end
return 'DONE'
