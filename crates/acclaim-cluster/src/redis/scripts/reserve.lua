-- Notes which request an idempotency key belongs to, in the partition that the key itself falls
-- into: the ops of another request under it may lie in any other.
--
-- KEYS[1]  the tag of the partition
-- ARGV     the time in microseconds (0 to take the server's), field, shelf, request
-- Answers NEW, SAME or OTHER.

local call, format, sub = redis.call, string.format, string.sub
local tag = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local field, shelf, request = ARGV[2], ARGV[3], ARGV[4]
local today = math.floor(now / 86400000000)
for day = today, today - 1, -1 do
  local found = call('HGET', tag .. ':i:' .. format('%.0f', day) .. ':' .. shelf, field)
  if found and now < tonumber(sub(found, 17)) + 86400000000 then
    return sub(found, 1, 16) == request and 'SAME' or 'OTHER'
  end
end
call('HSET', tag .. ':i:' .. format('%.0f', today) .. ':' .. shelf, field,
  request .. format('%.0f', now))
return 'NEW'
