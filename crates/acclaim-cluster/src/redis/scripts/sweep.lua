-- Removes kept answers of days that nobody asks for any more, some shelves a call. They carry no
-- TTL, since an eviction would break the promise to keep them.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the time in microseconds, 0 to take the server's
-- ARGV[2]  how many shelves at most
-- Answers how many answers' shelves were there, and 1 where there is more to do.

local call, format = redis.call, string.format
local tag = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
-- Today and yesterday are looked into.
local last = math.floor(now / 86400000000) - 2
local mark = call('GET', tag .. ':e')
local day, shelf = last, 0
if mark then
  day, shelf = string.match(mark, '^(%d+) (%d+)$')
  day, shelf = tonumber(day), tonumber(shelf)
end
local removed = 0
for _ = 1, tonumber(ARGV[2]) do
  if day > last then break end
  removed = removed + call('UNLINK', tag .. ':i:' .. format('%d', day) .. ':' .. format('%02x', shelf))
  shelf = shelf + 1
  if shelf == 256 then day, shelf = day + 1, 0 end
end
local new = format('%d %d', day, shelf)
if new ~= mark then call('SET', tag .. ':e', new) end
return { format('%d', removed), day > last and '0' or '1' }
