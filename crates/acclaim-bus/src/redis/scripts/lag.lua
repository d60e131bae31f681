-- How far the group ARGV[1] of the stream KEYS[1] is behind: how many events stand behind its place,
-- and for how many milliseconds the first of them that is still there has.
local id, read = place(KEYS[1], ARGV[1])
local state = look(KEYS[1])
local events = math.max(state['entries-added'] - read, 0)
local next = redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 1)
if #next == 0 then
  return { tostring(events), '0' }
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local since = parse(next[1][1])
return { tostring(events), string.format('%.0f', math.max(now - since, 0)) }
