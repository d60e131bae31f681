-- Takes the token of a load, only while the thing is missing: whoever takes it knows that nothing
-- can be decided on the thing until the token is used or gone, so what the ledger says of it from
-- now on does not change.
--
-- KEYS[1]  the tag of the partition
-- ARGV     what (p, t or b), token, milliseconds the token lives, [target, [generation, bucket]]
-- Answers OK; HERE where nothing is missing; HELD where another loads it; COLD where what it lies
-- in is missing; GONE where the layout has no such bucket any more.

local call = redis.call
local tag = KEYS[1]
local what, token, lives, name, generation, bucket = unpack(ARGV)
local key, lock
if what == 'p' then
  key, lock = tag .. ':l', tag .. ':k:p'
else
  if call('EXISTS', tag .. ':l') == 0 then return 'COLD' end
  if what == 't' then
    key, lock = tag .. ':t:' .. name, tag .. ':k:t:' .. name
  else
    local layout = call('HGET', tag .. ':t:' .. name, '#b')
    if not layout then return 'COLD' end
    local level, split, of = string.match(layout, '^(%d+)%.(%d+)%.(.+)$')
    local at, prefix = string.match(bucket, '^(%d+)%.(%d+)$')
    level, split, at, prefix = tonumber(level), tonumber(split), tonumber(at), tonumber(prefix)
    local there = of == generation
      and ((at == level and prefix >= split) or (at == level + 1 and prefix < 2 * split))
    if not there then return 'GONE' end
    local place = name .. ':' .. generation .. '.' .. bucket
    key, lock = tag .. ':b:' .. place, tag .. ':k:b:' .. place
  end
end
if call('EXISTS', key) == 1 then return 'HERE' end
if call('SET', lock, token, 'NX', 'PX', lives) then return 'OK' end
return 'HELD'
