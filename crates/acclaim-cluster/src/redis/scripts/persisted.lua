-- The ledger has everything up to a place: what has not changed since may be evicted.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the place
-- ARGV[2]  milliseconds to live
-- ARGV[3]  a random number, for the jitter of ± 10%
-- ARGV[4]  the journal is kept from this place on; it is at most one more than the first
-- ARGV[5]  how many buckets waiting for their TTL are seen to at most
-- then target and user for each transition
-- Answers how many buckets still wait; nothing where the partition is cold.

local call = redis.call
local tag = KEYS[1]
local durable = tonumber(call('GET', tag .. ':d'))
if not durable then return false end
local upto = tonumber(ARGV[1])
if upto > durable then call('SET', tag .. ':d', ARGV[1]) end
local lives = tonumber(ARGV[2])
math.randomseed(tonumber(ARGV[3]))

local function expire(key, seq)
  if seq and tonumber(seq) <= upto then
    call('PEXPIRE', key, math.floor(lives * (0.9 + 0.2 * math.random())))
  end
end

local seen = {}
for i = 6, #ARGV, 2 do
  local name, user = ARGV[i], ARGV[i + 1]
  local record = seen[name]
  if not record then
    local key = tag .. ':t:' .. name
    record = call('HMGET', key, '#r', '#b')
    expire(key, record[1])
    seen[name] = record
  end
  if record[1] and record[2] ~= '0' then
    local level, split, generation = string.match(record[2], '^(%d+)%.(%d+)%.(.+)$')
    local hash = tonumber(string.sub(redis.sha1hex(user), 1, 8), 16)
    local prefix = math.floor(hash / 2 ^ (32 - level))
    if prefix < tonumber(split) then
      level = level + 1
      prefix = math.floor(hash / 2 ^ (32 - level))
    end
    local key = tag .. ':b:' .. name .. ':' .. generation .. '.' .. level .. '.' .. prefix
    expire(key, call('HGET', key, '#r'))
  end
end

local waiting = call('ZRANGEBYSCORE', tag .. ':y', '-inf', ARGV[1], 'LIMIT', 0, ARGV[5])
for _, place in ipairs(waiting) do
  local key = tag .. ':b:' .. place
  expire(key, call('HGET', key, '#r'))
  call('ZREM', tag .. ':y', place)
end
call('XTRIM', tag .. ':j', 'MINID', '~', ARGV[4])
return call('ZCOUNT', tag .. ':y', '-inf', ARGV[1])
