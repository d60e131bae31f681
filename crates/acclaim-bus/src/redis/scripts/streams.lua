-- What several scripts share; it stands before each of them.

-- A map that is told as a list.
local function told(list)
  local map = {}
  for at = 1, #list, 2 do
    map[list[at]] = list[at + 1]
  end
  return map
end

-- How a stream stands; nothing where there is none.
local function look(stream)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  return told(redis.call('XINFO', 'STREAM', stream))
end

-- Milliseconds and number of an id.
local function parse(id)
  local millis, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(millis), tonumber(number)
end

-- Whether one id stands behind another.
local function is_behind(one, other)
  local millis, number = parse(one)
  local other_millis, other_number = parse(other)
  return millis > other_millis or (millis == other_millis and number > other_number)
end

-- How many events of a stream stand up to an id: as the first one behind it says, which carries its
-- number.
local function read_up_to(stream, state, id)
  local next = redis.call('XRANGE', stream, '(' .. id, '+', 'COUNT', 1)
  if #next == 0 then
    return state['entries-added']
  end
  local number = tonumber(told(next[1][2])['n'])
  if number then
    return number - 1
  end
  -- Somebody else's, without a number: what Redis can say of its first ones.
  return state['entries-added'] - state['length']
end

-- Where a group stands: an id, and how many events are up to it. One that is new stands before the
-- oldest event that there is.
local function place(stream, group)
  local state = look(stream)
  if state then
    for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      local known = told(one)
      if known['name'] == group then
        local id = known['last-delivered-id']
        return id, known['entries-read'] or read_up_to(stream, state, id)
      end
    end
  end
  local id = '0-0'
  local read = state and read_up_to(stream, state, id) or 0
  redis.call('XGROUP', 'CREATE', stream, group, id, 'MKSTREAM', 'ENTRIESREAD', read)
  return id, read
end

-- Whether a bus partition is still of who has this fence; if so, for longer. A lease that ran out is
-- taken up again unless somebody else had the bus partition since.
local function is_ours(lease, fence, mine, lease_millis)
  local held = redis.call('GET', lease)
  if held == mine then
    redis.call('PEXPIRE', lease, lease_millis)
    return true
  end
  if not held and redis.call('GET', fence) == mine then
    redis.call('SET', lease, mine, 'PX', lease_millis)
    return true
  end
  return false
end
