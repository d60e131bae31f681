-- Puts what was read from the ledger in its place, only with the token that was taken before the
-- ledger was read.
--
-- KEYS[1]  the tag of the partition
-- ARGV     what (p, t or b), token, and
--   p  the place up to which the ledger has everything
--   t  milliseconds to live, target, count, seq, entries, layout (0 or <level>.<split>), then
--      user and entry for each where the layout is 0
--   b  milliseconds to live, target, generation, bucket, seq, then user and entry for each
-- Answers OK, or LOST where the token is gone or the place is not free or not there.

local call = redis.call
local tag = KEYS[1]
local what, token = ARGV[1], ARGV[2]

local function take(lock, key)
  if call('GET', lock) ~= token then return false end
  call('UNLINK', lock)
  return call('EXISTS', key) == 0
end

local function install(key, lives, fields, from)
  for i = from, #ARGV do fields[#fields + 1] = ARGV[i] end
  call('HSET', key, unpack(fields))
  call('PEXPIRE', key, lives)
  return 'OK'
end

if what == 'p' then
  if not take(tag .. ':k:p', tag .. ':l') then return 'LOST' end
  -- The journal holds nothing up to here.
  call('MSET', tag .. ':l', ARGV[3], tag .. ':d', ARGV[3], tag .. ':h', '0 ' .. ARGV[3])
  return 'OK'
end

local durable = tonumber(call('GET', tag .. ':d'))
if not durable then return 'LOST' end
local lives, name = ARGV[3], ARGV[4]
if what == 't' then
  local count, seq, entries, layout = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
  local key = tag .. ':t:' .. name
  if not take(tag .. ':k:t:' .. name, key) or tonumber(seq) > durable then return 'LOST' end
  -- The token is the generation: no bucket of an earlier layout has it in its name.
  if layout ~= '0' then layout = layout .. '.' .. token end
  return install(key, lives, { '#c', count, '#r', seq, '#n', entries, '#b', layout }, 9)
end

local generation, bucket, seq = ARGV[5], ARGV[6], ARGV[7]
local place = name .. ':' .. generation .. '.' .. bucket
local key = tag .. ':b:' .. place
if not take(tag .. ':k:b:' .. place, key) or tonumber(seq) > durable then return 'LOST' end
local layout = call('HGET', tag .. ':t:' .. name, '#b')
if not layout then return 'LOST' end
local level, split, of = string.match(layout, '^(%d+)%.(%d+)%.(.+)$')
local at, prefix = string.match(bucket, '^(%d+)%.(%d+)$')
level, split, at, prefix = tonumber(level), tonumber(split), tonumber(at), tonumber(prefix)
local there = of == generation
  and ((at == level and prefix >= split) or (at == level + 1 and prefix < 2 * split))
if not there then return 'LOST' end
return install(key, lives, { '#r', seq }, 8)
