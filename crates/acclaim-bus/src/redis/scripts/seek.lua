-- Moves the group to another place, under a new fence: what was on its way under the old one comes
-- too late. KEYS: stream, lease, fence. ARGV: our fence, for how many milliseconds, the group, and
-- `begin`, `end` or the id behind which to go on. Answers as claim.lua does.
if not is_ours(KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then
  return false
end
place(KEYS[1], ARGV[3])
local state = look(KEYS[1])
local last = state['last-generated-id']
local id = ARGV[4]
if id == 'begin' then
  id = '0-0'
elseif id == 'end' or is_behind(id, last) then
  id = last
end
local read = read_up_to(KEYS[1], state, id)
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[3], id, 'ENTRIESREAD', read)
local fence = redis.call('INCR', KEYS[3])
redis.call('SET', KEYS[2], fence, 'PX', ARGV[2])
return { tostring(fence), id, tostring(read) }
