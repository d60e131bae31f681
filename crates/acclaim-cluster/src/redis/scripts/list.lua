-- Reads the newest entries of a target.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the target
-- Answers what it is, count, seq, and
--   all     user and entry of every edge, active or not, in no order: the target is small
--   newest  '<user> <rev>' of the newest active edges, without a gap
--   none    nothing: the list of this large target is not here
-- or one text that says what is cold, as decide.lua does; or no answer: the partition is cold.

local call = redis.call
local tag, name = KEYS[1], ARGV[1]
local LIST_FROM_ENTRIES = 800

local key = tag .. ':t:' .. name
local found = call('HMGET', key, '#c', '#r', '#n', '#b')
if not found[1] then
  if call('EXISTS', tag .. ':l') == 0 then return {} end
  return { 'T' .. name }
end
local answer = { 'all', found[1], found[2] }

local function add(entries)
  for i = 1, #entries, 2 do
    if string.sub(entries[i], 1, 1) ~= '#' then
      answer[#answer + 1] = entries[i]
      answer[#answer + 1] = entries[i + 1]
    end
  end
end

if found[4] == '0' then
  add(call('HGETALL', key))
  return answer
end
if tonumber(found[3]) > LIST_FROM_ENTRIES then
  local newest = call('LRANGE', tag .. ':n:' .. name, 0, -1)
  answer[1] = #newest > 0 and 'newest' or 'none'
  for i = 1, #newest do answer[3 + i] = newest[i] end
  return answer
end
local level, split, generation = string.match(found[4], '^(%d+)%.(%d+)%.(.+)$')
local function add_buckets(at, from, to)
  for prefix = from, to do
    local bucket = at .. '.' .. prefix
    local entries = call('HGETALL', tag .. ':b:' .. name .. ':' .. generation .. '.' .. bucket)
    if #entries == 0 then return 'B' .. name .. ' ' .. generation .. ' ' .. bucket end
    add(entries)
  end
end
local cold = add_buckets(level + 1, 0, 2 * split - 1) or add_buckets(level, split, 2 ^ level - 1)
if cold then return { cold } end
return answer
