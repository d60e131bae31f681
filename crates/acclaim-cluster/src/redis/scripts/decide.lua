-- Decides the ops of one partition, in order: acclaim_core::edge::decide, held against it by tests.
-- First everything is looked up and decided, then everything is written: a script that fails has
-- written nothing.
--
-- KEYS[1]  the tag of the partition
-- ARGV[1]  the time in microseconds, 0 to take the server's
-- then for each op: target, user, code and what the code asks for. The code is s, u or t, and
--   a  followed by the time of an import
--   x  followed by the names of the targets under the kinds that a set of this one unsets
--   i  followed by field, shelf and request of the answer to keep
--   o  followed by the origin of the event
--   c  this op belongs to the same write as the one before
-- Answers, one an op: [R]<changed><active> <count> <rev>, T<target> and B<target> <generation>
-- <bucket> for what is cold, M for a field kept for another request, W for an op that waits for an
-- earlier one of its write: a write is decided in its order. No answers: the partition is cold.

local call, format, sub, floor = redis.call, string.format, string.sub, math.floor
local tag = KEYS[1]
local marks = call('MGET', tag .. ':l', tag .. ':d')
if not marks[1] then return {} end
local last, durable = tonumber(marks[1]), tonumber(marks[2])
local first = last
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

local records, buckets, touched = {}, {}, {}

-- A place holds entries: a record that is small, or a bucket.
local function place(key, seq)
  return { key = key, seq = tonumber(seq), known = {}, out = {} }
end

local function bucket_of(record, user)
  local hash = tonumber(sub(redis.sha1hex(user), 1, 8), 16)
  local level = record.level
  local prefix = floor(hash / 2 ^ (32 - level))
  if prefix < record.split then
    level = level + 1
    prefix = floor(hash / 2 ^ (32 - level))
  end
  return level .. '.' .. prefix
end

-- The entry of a user, its record and its place; or nil and what is cold.
local function look(name, user)
  local record = records[name]
  if record == nil then
    local key = tag .. ':t:' .. name
    local found = call('HMGET', key, '#c', '#r', '#n', '#b', user)
    if not found[1] then
      records[name] = false
      return nil, 'T' .. name
    end
    record = place(key, found[2])
    record.name = name
    record.count = tonumber(found[1])
    record.entries = tonumber(found[3])
    if found[4] == '0' then
      record.known[user] = tonumber(found[5]) or 0
    else
      local level, split, generation = string.match(found[4], '^(%d+)%.(%d+)%.(.+)$')
      record.level, record.split, record.generation = tonumber(level), tonumber(split), generation
    end
    records[name] = record
  elseif not record then
    return nil, 'T' .. name
  end
  local at = record
  if record.level then
    local bucket = bucket_of(record, user)
    local key = tag .. ':b:' .. name .. ':' .. record.generation .. '.' .. bucket
    at = buckets[key]
    if at == nil then
      local found = call('HMGET', key, '#r', user)
      at = found[1] and place(key, found[1]) or false
      buckets[key] = at
      if at then at.known[user] = tonumber(found[2]) or 0 end
    end
    if not at then
      return nil, 'B' .. name .. ' ' .. record.generation .. ' ' .. bucket
    end
  end
  local entry = at.known[user]
  if not entry then
    entry = tonumber(call('HGET', at.key, user)) or 0
    at.known[user] = entry
  end
  return entry, record, at
end

-- A smaller target's list is made of its entries when it is read.
local LIST_FROM_ENTRIES = 800
local events, lists = {}, {}

local function touch(at)
  if not at.touched then
    at.touched = true
    -- A key carries a TTL only while the ledger has its last transition.
    at.persist = at.seq <= durable
    touched[#touched + 1] = at
  end
  at.seq = last
end

-- Makes an edge active or not. Answers its rev as text.
local function change(record, at, user, entry, active, import, origin)
  last = last + 1
  if now > last then last = now end
  local seq = format('%d', last)
  local rev = import or seq
  touch(record)
  if at ~= record then touch(at) end
  if entry == 0 then
    record.entries = record.entries + 1
    record.grown = true
  end
  local out = at.out
  out[#out + 1] = user
  out[#out + 1] = active and rev or '-' .. rev
  local number = import and tonumber(import) or last
  at.known[user] = active and number or -number
  record.count = record.count + (active and 1 or -1)
  -- Numbers become text once: a script pays dearly for each time.
  local count = format('%d', record.count)
  record.count_text = count
  events[#events + 1] = seq .. '-0'
  events[#events + 1] = record.name .. ' ' .. user .. (active and ' +' or ' -') .. (import or '')
    .. ' ' .. count .. (origin and ' ' .. origin or '')
  record.last = seq
  at.last = seq
  if record.level and record.entries > LIST_FROM_ENTRIES then
    lists[#lists + 1] = { record, user, rev, active, import, format('%d', entry) }
  end
  return rev
end

-- Those of the excluded edges that stand; or nil and what is cold.
local function standing(excludes, user, held)
  local found = {}
  for name in string.gmatch(excludes, '%S+') do
    local entry, record, at = look(name, user)
    if not entry then return nil, record end
    if held[name .. ' ' .. user] then return nil, held[name .. ' ' .. user] end
    if entry > 0 then found[#found + 1] = { record, at, entry } end
  end
  return found
end

-- Edges whose op waits for a load: later ops on them wait too, so that their order holds.
local held = {}

local function decide(name, user, code, import, excludes, origin)
  if held[name .. ' ' .. user] then return held[name .. ' ' .. user] end
  local entry, record, at = look(name, user)
  if not entry then return record end
  local active = entry > 0
  local want = code == 's' or (code == 't' and not active)
  local rev = entry < 0 and -entry or entry
  local at_time = import and tonumber(import)
  if want ~= active and not (import and at_time <= rev) then
    local others
    if want and excludes then
      local cold
      others, cold = standing(excludes, user, held)
      if not others then return cold end
      for _, other in ipairs(others) do
        if import and at_time <= other[3] then want = active end
      end
    end
    if want ~= active then
      if others then
        for _, other in ipairs(others) do
          change(other[1], other[2], user, other[3], false, import, origin)
        end
      end
      local text = change(record, at, user, entry, want, import, origin)
      return (want and '11 ' or '10 ') .. record.count_text .. ' ' .. text
    end
  end
  return (active and '01 ' or '00 ') .. record.count .. ' ' .. format('%d', rev)
end

local answers, kept = {}, {}
local today = floor(now / 86400000000)
local keep_micros = 86400000000

-- The answer kept for this op, if any.
local function kept_answer(field, shelf, request)
  local found = kept[field]
  if found then
    found = found[2]
  else
    found = call('HGET', tag .. ':i:' .. format('%d', today) .. ':' .. shelf, field)
      or call('HGET', tag .. ':i:' .. format('%d', today - 1) .. ':' .. shelf, field)
  end
  if not found then return nil end
  local time, answer = string.match(sub(found, 17), '^(%d+) (.*)$')
  if now >= tonumber(time) + keep_micros then return nil end
  if sub(found, 1, 16) ~= request then return 'M' end
  return 'R' .. answer
end

-- What an op that waits needs to be loaded meanwhile.
local function cold(name, user, code, excludes)
  local entry, what = look(name, user)
  if not entry then return what end
  if excludes and code ~= 'u' then
    for other in string.gmatch(excludes, '%S+') do
      entry, what = look(other, user)
      if not entry then return what end
    end
  end
  return 'W'
end

local at, n, given = 2, 0, #ARGV
local waits = false
while at < given do
  local name, user, code = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local import, excludes, origin, field, shelf, request, continues
  if #code > 1 then
    for i = 2, #code do
      local flag = sub(code, i, i)
      if flag == 'c' then continues, at = true, at - 1
      elseif flag == 'a' then import = ARGV[at]
      elseif flag == 'x' then excludes = ARGV[at]
      elseif flag == 'o' then origin = ARGV[at]
      else
        field, shelf, request = ARGV[at], ARGV[at + 1], ARGV[at + 2]
        at = at + 2
      end
      at = at + 1
    end
    code = sub(code, 1, 1)
  end
  if not continues then waits = false end
  local answer = field and kept_answer(field, shelf, request)
  if not answer then
    if waits then
      answer = held[name .. ' ' .. user] or cold(name, user, code, excludes)
    else
      answer = decide(name, user, code, import, excludes, origin)
    end
    local mark = sub(answer, 1, 1)
    if mark == 'T' or mark == 'B' or mark == 'W' then
      waits = true
      held[name .. ' ' .. user] = answer
      for other in string.gmatch(excludes or '', '%S+') do
        held[other .. ' ' .. user] = answer
      end
    elseif field then
      kept[field] = { shelf, request .. format('%d', now) .. ' ' .. answer }
    end
  end
  n = n + 1
  answers[n] = answer
end

-- From here on everything is decided; now it is written.

for field, answer in pairs(kept) do
  call('HSET', tag .. ':i:' .. format('%d', today) .. ':' .. answer[1], field, answer[2])
end
if last == first then return answers end

for i = 1, #touched do
  local place = touched[i]
  local out = place.out
  local size = #out
  out[size + 1], out[size + 2] = '#r', place.last
  if place.name then
    out[size + 3], out[size + 4] = '#c', place.count_text
    if place.grown then
      out[size + 5], out[size + 6] = '#n', format('%d', place.entries)
    end
  end
  call('HSET', place.key, unpack(out))
  if place.persist then call('PERSIST', place.key) end
end
for i = 1, #events, 2 do
  call('XADD', tag .. ':j', events[i], 'e', events[i + 1])
end
call('SET', tag .. ':l', format('%d', last))

local MAX_INLINE_ENTRIES, MAX_MEAN_BUCKET_ENTRIES, MAX_LEVEL = 100, 56, 24
local MAX_LIST_ENTRIES, LIST_SHARE, LIST_SLACK_ENTRIES = 1000, 8, 64

-- The newest entries of a large target are a cache: kept while it is there, dropped where keeping
-- it would cost a search.
for i = 1, #lists do
  local record, user, rev, active, import, before = unpack(lists[i])
  local key = tag .. ':n:' .. record.name
  if import then
    call('UNLINK', key)
  elseif active then
    local length = call('LPUSHX', key, user .. ' ' .. rev)
    local most = math.min(MAX_LIST_ENTRIES, floor(record.entries / LIST_SHARE))
    if length > most + LIST_SLACK_ENTRIES then
      -- What goes must be in the ledger, where the rest of the list is read.
      local oldest = call('LINDEX', key, most)
      if tonumber(string.match(oldest, ' (%d+)$')) <= durable then
        call('LTRIM', key, 0, most - 1)
      end
    end
  else
    call('LREM', key, 1, user .. ' ' .. before)
  end
end

-- Parts entries by the buckets that they lie in.
local function fill(record, found, seq)
  local filled = {}
  for i = 1, #found, 2 do
    local user = found[i]
    if sub(user, 1, 1) ~= '#' then
      local bucket = bucket_of(record, user)
      local out = filled[bucket]
      if not out then
        out = { '#r', seq }
        filled[bucket] = out
      end
      out[#out + 1] = user
      out[#out + 1] = found[i + 1]
    end
  end
  return filled
end

-- Writes a new bucket with the TTL of what it was part of, or has it wait for one.
local function write_bucket(record, bucket, out, ttl)
  local name = record.name .. ':' .. record.generation .. '.' .. bucket
  call('HSET', tag .. ':b:' .. name, unpack(out))
  if ttl > 0 then
    call('PEXPIRE', tag .. ':b:' .. name, ttl)
  else
    call('ZADD', tag .. ':y', out[2], name)
  end
end

local function grow(record)
  record.split = record.split + 1
  if record.split == 2 ^ record.level then
    record.level, record.split = record.level + 1, 0
  end
end

local function is_crowded(record)
  return record.entries > MAX_MEAN_BUCKET_ENTRIES * (2 ^ record.level + record.split)
    and record.level <= MAX_LEVEL
end

local function write_layout(record)
  call('HSET', record.key, '#b', record.level .. '.' .. record.split .. '.' .. record.generation)
end

-- A record that has become too large gives its entries to buckets. Their generation is the place
-- of its last transition, which no other layout can have.
local function spread(record)
  record.level, record.split, record.generation = 1, 0, record.last
  while is_crowded(record) do grow(record) end
  local filled = fill(record, call('HGETALL', record.key), record.last)
  call('UNLINK', record.key)
  call('HSET', record.key, '#c', record.count, '#r', record.last, '#n', record.entries)
  write_layout(record)
  local function each(level, from, to)
    for prefix = from, to do
      local bucket = level .. '.' .. prefix
      write_bucket(record, bucket, filled[bucket] or { '#r', record.last }, -1)
    end
  end
  each(record.level + 1, 0, 2 * record.split - 1)
  each(record.level, record.split, 2 ^ record.level - 1)
end

-- Splits the next bucket. One that is not here is only split in name: both halves are cold.
local function split(record)
  local level, prefix = record.level, record.split
  local bucket = level .. '.' .. prefix
  local key = tag .. ':b:' .. record.name .. ':' .. record.generation .. '.' .. bucket
  local found = call('HGETALL', key)
  grow(record)
  if #found == 0 then return end
  local seq
  for i = 1, #found, 2 do
    if found[i] == '#r' then seq = found[i + 1] end
  end
  local ttl = call('PTTL', key)
  local filled = fill(record, found, seq)
  for half = 2 * prefix, 2 * prefix + 1 do
    local child = (level + 1) .. '.' .. half
    write_bucket(record, child, filled[child] or { '#r', seq }, ttl)
  end
  call('UNLINK', key)
  call('ZREM', tag .. ':y', record.name .. ':' .. record.generation .. '.' .. bucket)
end

for i = 1, #touched do
  local record = touched[i]
  if record.name then
    if not record.level then
      if record.entries > MAX_INLINE_ENTRIES then spread(record) end
    elseif is_crowded(record) then
      repeat split(record) until not is_crowded(record)
      write_layout(record)
    end
  end
end
return answers
