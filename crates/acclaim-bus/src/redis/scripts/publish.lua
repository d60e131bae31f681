-- Adds events to the stream KEYS[1], and trims it.
-- ARGV: for how many milliseconds events are kept; how many are; the highest number that an id may
-- have in its millisecond; how many arguments each event has; then those, as names and values.
local stream = KEYS[1]
local keep, most, last_number = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local each = tonumber(ARGV[4])

local function trim()
  local time = redis.call('TIME')
  local oldest = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - keep
  if oldest > 0 then
    redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', oldest))
  end
  redis.call('XTRIM', stream, 'MAXLEN', '~', most)
end

local state = look(stream)
local added = state and state['entries-added'] or 0
local last = state and state['last-generated-id'] or '0-0'
for at = 5, #ARGV, each do
  added = added + 1
  local id = '*'
  local millis, number = parse(last)
  if number >= last_number then
    -- The clock went back, or so much came in one millisecond: go on in the next one.
    id = string.format('%.0f-0', millis + 1)
  end
  last = redis.pcall('XADD', stream, id, 'n', added, unpack(ARGV, at, at + each - 1))
  if type(last) == 'table' and last['err'] then
    -- The first one, or none: a server that is full says so before anything is added. What is too
    -- old makes room for the next try.
    trim()
    return last
  end
end
trim()
return redis.status_reply('OK')
