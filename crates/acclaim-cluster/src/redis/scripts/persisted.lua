-- The ledger has everything up to a place: what has not changed since may be evicted, and the
-- journal is trimmed to what subscribers may ask for.
--
-- The place moves only over entries that were applied: a batch that was read from a journal that
-- is gone (Redis was emptied, or came back with less) is not taken for one of this journal.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the place
-- ARGV[2]  the place after which the journal was read
-- ARGV[3]  the place of the last entry applied, 0 where there was none
-- ARGV[4]  how many entries were applied
-- ARGV[5]  the time in microseconds, 0 to take the server's
-- ARGV[6]  milliseconds to live
-- ARGV[7]  a random number, for the jitter of ± 10%
-- ARGV[8]  for how many microseconds entries are kept
-- ARGV[9]  how many entries are kept at most
-- ARGV[10] how many buckets waiting for their TTL are seen to at most
-- ARGV[11] the place up to which those have read who are to miss nothing, -1 where there is nobody
-- ARGV[12] how many entries are kept for them at most
-- then target and user for each transition
-- Answers: entries of the journal that the ledger has; the place up to which entries were removed;
-- how many buckets still wait; the time. COLD where the partition is cold, OTHER where the batch is
-- not of this journal.

local call, format, floor = redis.call, string.format, math.floor
local tag = KEYS[1]
local journal = tag .. ':j'
local marks = call('MGET', tag .. ':l', tag .. ':d', tag .. ':h')
if not marks[1] or not marks[2] then return 'COLD' end
local given, durable = tonumber(marks[1]), tonumber(marks[2])
local kept, removed = string.match(marks[3] or '0 0', '^(%d+) (%d+)$')
kept = tonumber(kept)
local upto, after, last = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[5])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function between(from, to)
  return call('XRANGE', journal, format('%.0f', from), format('%.0f', to), 'COUNT', 1)[1] ~= nil
end

if upto > durable then
  if durable < after or upto > given then return 'OTHER' end
  if last > 0 and not between(last, last) then return 'OTHER' end
  if between(math.max(last, after) + 1, upto) then return 'OTHER' end
  if durable == after then
    kept = kept + tonumber(ARGV[4])
  else
    -- Another told of a part of it already.
    kept = kept + #call('XRANGE', journal, format('%.0f', durable + 1), ARGV[1])
  end
  call('SET', tag .. ':d', ARGV[1])
  durable = upto
end

local lives = tonumber(ARGV[6])
math.randomseed(tonumber(ARGV[7]))

local function expire(key, seq)
  if seq and tonumber(seq) <= upto then
    call('PEXPIRE', key, floor(lives * (0.9 + 0.2 * math.random())))
  end
end

local seen, known, users = {}, {}, {}
for i = 13, #ARGV, 2 do
  local name, user = ARGV[i], ARGV[i + 1]
  if not known[user] then
    known[user] = true
    users[#users + 1] = user
  end
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
    local prefix = floor(hash / 2 ^ (32 - level))
    if prefix < tonumber(split) then
      level = level + 1
      prefix = floor(hash / 2 ^ (32 - level))
    end
    local key = tag .. ':b:' .. name .. ':' .. generation .. '.' .. level .. '.' .. prefix
    expire(key, call('HGET', key, '#r'))
  end
end

-- Users whose last transition the ledger has wait for nothing any more.
for i = 1, #users, 1000 do
  local most = math.min(i + 999, #users)
  local places = call('HMGET', tag .. ':u', unpack(users, i, most))
  local done = {}
  for n = 1, #places do
    if places[n] and tonumber(places[n]) <= upto then done[#done + 1] = users[i + n - 1] end
  end
  if #done > 0 then call('HDEL', tag .. ':u', unpack(done)) end
end

local waiting = call('ZRANGEBYSCORE', tag .. ':y', '-inf', ARGV[1], 'LIMIT', 0, ARGV[10])
for _, place in ipairs(waiting) do
  local key = tag .. ':b:' .. place
  expire(key, call('HGET', key, '#r'))
  call('ZREM', tag .. ':y', place)
end

-- Whole nodes of the stream only, and at most 10,000 entries a call: never more than is asked for.
local before = kept
local read = tonumber(ARGV[11])
local oldest = math.min(now - tonumber(ARGV[8]), durable + 1)
if read >= 0 then oldest = math.min(oldest, read + 1) end
-- Nothing behind this place was removed.
local bound = oldest - 1
if oldest > 0 and kept > 0 then
  kept = kept - call('XTRIM', journal, 'MINID', '~', format('%.0f', oldest))
end
local most = tonumber(ARGV[9])
local surplus = kept - most
if surplus > 0 and read >= 0 then
  bound = math.min(read, durable)
  kept = kept - call('XTRIM', journal, 'MINID', '~', format('%.0f', bound + 1), 'LIMIT',
    format('%.0f', surplus))
  surplus = kept - math.max(most, tonumber(ARGV[12]))
end
if surplus > 0 then
  bound = durable
  kept = kept - call('XTRIM', journal, 'MAXLEN', '~', call('XLEN', journal) - surplus)
end
if kept < before then
  local first = call('XRANGE', journal, '-', '+', 'COUNT', 1)[1]
  local upto = first and tonumber(string.match(first[1], '^%d+')) - 1 or durable
  removed = format('%.0f', math.max(tonumber(removed), math.min(upto, bound)))
end
call('SET', tag .. ':h', format('%.0f', kept) .. ' ' .. removed)
return {
  format('%.0f', kept), removed, format('%.0f', call('ZCOUNT', tag .. ':y', '-inf', ARGV[1])),
  format('%.0f', now),
}
