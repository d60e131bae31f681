-- Reads edges of one partition together with the counts of their targets.
--
-- KEYS[1]  the tag of the partition
-- ARGV     target and user, for each; an empty user asks for the count alone
-- Answers, one each: <count> <seq> <rev, negative while inactive, 0 where it never was>, or what
-- is cold as decide.lua says it. No answers: the partition is cold.

local call, sub, floor = redis.call, string.sub, math.floor
local tag = KEYS[1]
local answers = {}
for i = 1, #ARGV, 2 do
  local name, user = ARGV[i], ARGV[i + 1]
  local found = call('HMGET', tag .. ':t:' .. name, '#c', '#r', '#b', user)
  local entry, answer = found[4] or '0'
  if not found[1] then
    if call('EXISTS', tag .. ':l') == 0 then return {} end
    answer = 'T' .. name
  elseif user ~= '' and found[3] ~= '0' then
    local level, split, generation = string.match(found[3], '^(%d+)%.(%d+)%.(.+)$')
    local hash = tonumber(sub(redis.sha1hex(user), 1, 8), 16)
    local prefix = floor(hash / 2 ^ (32 - level))
    if prefix < tonumber(split) then
      level = level + 1
      prefix = floor(hash / 2 ^ (32 - level))
    end
    local bucket = level .. '.' .. prefix
    local key = tag .. ':b:' .. name .. ':' .. generation .. '.' .. bucket
    local inside = call('HMGET', key, '#r', user)
    if inside[1] then
      entry = inside[2] or '0'
    else
      answer = 'B' .. name .. ' ' .. generation .. ' ' .. bucket
    end
  end
  answers[#answers + 1] = answer or (found[1] .. ' ' .. found[2] .. ' ' .. entry)
end
return answers
