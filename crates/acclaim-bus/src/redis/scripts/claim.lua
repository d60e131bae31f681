-- Takes a bus partition that nobody has. KEYS: stream, lease, fence. ARGV: the group, and for how
-- many milliseconds. Answers the fence and where the group stands; nothing if somebody has it.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return false
end
local id, read = place(KEYS[1], ARGV[1])
local fence = redis.call('INCR', KEYS[3])
redis.call('SET', KEYS[2], fence, 'PX', ARGV[2])
return { tostring(fence), id, tostring(read) }
