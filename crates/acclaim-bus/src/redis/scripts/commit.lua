-- Moves the group. KEYS: stream, lease, fence. ARGV: our fence, for how many milliseconds it is ours
-- then, the group, the id, and how many events stand up to it. Answers whether it was ours to move.
if not is_ours(KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then
  return 0
end
-- A call that was given up may come behind one that was made later.
local at = place(KEYS[1], ARGV[3])
if is_behind(ARGV[4], at) then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[3], ARGV[4], 'ENTRIESREAD', ARGV[5])
end
return 1
