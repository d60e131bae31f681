-- Decides the ops of one partition, in order: acclaim_core::edge::decide, held against it by tests.
-- First everything is looked up and decided, then everything is written: a script that fails has
-- written nothing.
--
-- A call costs the server a few microseconds, and functions, tables and numbers made text are a
-- large part of them. So what is rare (answers to keep, lists, layouts) is made inside the branch
-- that needs it, and a number becomes text once.
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
local last = call('GET', tag .. ':l')
if not last then return {} end
last = tonumber(last)
local first, last_text = last, nil
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

local MAX_INLINE_ENTRIES, MAX_MEAN_BUCKET_ENTRIES, MAX_LEVEL = 100, 56, 24
-- A smaller target's list is made of its entries when it is read.
local LIST_FROM_ENTRIES = 800

-- One plain op on a small target, the commonest call of all, is decided and written here by the
-- same rule, without what the others need. Everything else falls through.
local code, origin = ARGV[4], nil
local is_plain = #ARGV == 4 and #code == 1
if #ARGV == 5 and sub(code, 2) == 'o' then
  is_plain, code, origin = true, sub(code, 1, 1), ARGV[5]
end
if is_plain then
  local name, user = ARGV[2], ARGV[3]
  local key = tag .. ':t:' .. name
  local found = call('HMGET', key, '#c', '#n', '#b', user)
  local entry = found[4] and tonumber(found[4]) or 0
  if found[3] == '0' and (entry ~= 0 or tonumber(found[2]) < MAX_INLINE_ENTRIES) then
    local active = entry > 0
    local want = code == 's' or (code == 't' and not active)
    if want == active then
      local rev = format('%d', active and entry or -entry)
      return { (active and '01 ' or '00 ') .. found[1] .. ' ' .. rev }
    end
    last = last + 1
    if now > last then last = now end
    local seq = format('%d', last)
    local value, sign, answer, step = seq, ' + ', '11 ', 1
    if not want then value, sign, answer, step = '-' .. seq, ' - ', '10 ', -1 end
    local count = format('%d', found[1] + step)
    if entry == 0 then
      local entries = format('%d', found[2] + 1)
      call('HSET', key, '#r', seq, '#c', count, '#n', entries, user, value)
    else
      call('HSET', key, '#r', seq, '#c', count, user, value)
    end
    call('PERSIST', key)
    local event = name .. ' ' .. user .. sign .. count
    if origin then event = event .. ' ' .. origin end
    call('XADD', tag .. ':j', seq .. '-0', 'e', event)
    call('HSET', tag .. ':u', user, seq)
    call('SET', tag .. ':l', seq)
    return { answer .. count .. ' ' .. seq }
  end
end

-- Records and buckets are places, which hold entries; false is a cold one. A place knows the first
-- user who was looked up in it by itself, others are in a table that is made for them.
local records, buckets = {}, nil
local touched, events = {}, nil
-- Users with the places of their transitions.
local pending = {}
-- Edges whose op waits for a load: later ops on them wait too, so that their order holds.
local held
-- Answers to keep, transitions of cached lists, and whether a record has outgrown its layout.
local kept, lists, has_outgrown

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
  if not record then
    if record == false then return nil, 'T' .. name end
    local key = tag .. ':t:' .. name
    local found = call('HMGET', key, '#c', '#n', '#b', user)
    local count, layout, entry = found[1], found[3], found[4]
    if not count then
      records[name] = false
      return nil, 'T' .. name
    end
    record = {
      key = key, name = name, count = tonumber(count), entries = found[2],
      user = user, entry = false, known = false, out = false,
    }
    records[name] = record
    if layout == '0' then
      entry = entry and tonumber(entry) or 0
      record.entry = entry
      return entry, record, record
    end
    local level, split, generation = string.match(layout, '^(%d+)%.(%d+)%.(.+)$')
    record.level, record.split, record.generation = tonumber(level), tonumber(split), generation
  end
  local at = record
  if record.level then
    local bucket = bucket_of(record, user)
    local key = tag .. ':b:' .. name .. ':' .. record.generation .. '.' .. bucket
    buckets = buckets or {}
    at = buckets[key]
    if at == nil then
      local found = call('HMGET', key, '#r', user)
      at = found[1] and {
        key = key, user = user, entry = found[2] and tonumber(found[2]) or 0, known = false,
        out = false,
      }
      buckets[key] = at
    end
    if not at then
      return nil, 'B' .. name .. ' ' .. record.generation .. ' ' .. bucket
    end
  end
  if at.user == user then return at.entry, record, at end
  local known = at.known
  if not known then
    known = {}
    at.known = known
  end
  local entry = known[user]
  if not entry then
    entry = tonumber(call('HGET', at.key, user)) or 0
    known[user] = entry
  end
  return entry, record, at
end

-- Makes an edge active or not. Answers its rev and the count as texts.
local function change(record, at, user, entry, active, import, origin)
  last = last + 1
  if now > last then last = now end
  local seq = format('%d', last)
  last_text = seq
  local size = #pending
  pending[size + 1], pending[size + 2] = user, seq
  local rev, number = seq, last
  if import then rev, number = import, tonumber(import) end
  local count, sign, value = record.count + 1, ' +', rev
  if not active then count, sign, value, number = count - 2, ' -', '-' .. rev, -number end
  record.count = count
  -- Numbers become text once.
  count = format('%d', count)
  if at.user == user then at.entry = number else at.known[user] = number end

  -- What is to be written to a place: first what the place says of itself.
  local out = record.out
  if not out then
    touched[#touched + 1] = record
    if at == record then
      out = { '#r', seq, '#c', count, '#n', record.entries, user, value }
    else
      out = { '#r', seq, '#c', count, '#n', record.entries }
    end
    record.out = out
  else
    out[2], out[4] = seq, count
    if at == record then
      local size = #out
      out[size + 1], out[size + 2] = user, value
    end
  end
  if entry == 0 then
    record.entries = record.entries + 1
    out[6] = false
  end
  if at ~= record then
    out = at.out
    if not out then
      touched[#touched + 1] = at
      at.out = { '#r', seq, user, value }
    else
      local size = #out
      out[2], out[size + 1], out[size + 2] = seq, user, value
    end
  end

  local event = record.name .. ' ' .. user .. sign .. (import or '') .. ' ' .. count
  if origin then event = event .. ' ' .. origin end
  if not events then
    events = { seq .. '-0', event }
  else
    local size = #events
    events[size + 1], events[size + 2] = seq .. '-0', event
  end
  if record.level and tonumber(record.entries) > LIST_FROM_ENTRIES then
    lists = lists or {}
    lists[#lists + 1] = { record, user, rev, active, import, format('%d', entry) }
  end
  return rev, count
end

local function decide(name, user, code, import, excludes, origin)
  if held and held[name .. ' ' .. user] then return held[name .. ' ' .. user] end
  local entry, record, at = look(name, user)
  if not entry then return record end
  local active = entry > 0
  local want = code == 's' or (code == 't' and not active)
  local rev = active and entry or -entry
  local at_time = import and tonumber(import)
  if want ~= active and not (import and at_time <= rev) then
    -- Those of the excluded edges that stand.
    local others
    if want and excludes then
      others = {}
      for other in string.gmatch(excludes, '%S+') do
        local its_entry, its_record, its_place = look(other, user)
        if not its_entry then return its_record end
        if held and held[other .. ' ' .. user] then return held[other .. ' ' .. user] end
        if its_entry > 0 then others[#others + 1] = { its_record, its_place, its_entry } end
        if its_entry > 0 and import and at_time <= its_entry then want = active end
      end
    end
    if want ~= active then
      if others then
        for _, other in ipairs(others) do
          change(other[1], other[2], user, other[3], false, import, origin)
        end
      end
      local its_rev, count = change(record, at, user, entry, want, import, origin)
      return (want and '11 ' or '10 ') .. count .. ' ' .. its_rev
    end
  end
  return (active and '01 ' or '00 ') .. format('%d', record.count) .. ' ' .. format('%d', rev)
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

local answers = {}
local at, n, given = 2, 0, #ARGV
-- Whether an earlier op of the same write waits for what is cold.
local waits = false
local DAY_MICROS = 86400000000
while at < given do
  local name, user, code = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local import, excludes, origin, field, shelf, request, continues, answer
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
  if field then
    -- The answer kept for this op, if any.
    kept = kept or {}
    local today = floor(now / DAY_MICROS)
    local found = kept[field] and kept[field][2]
      or call('HGET', tag .. ':i:' .. format('%d', today) .. ':' .. shelf, field)
      or call('HGET', tag .. ':i:' .. format('%d', today - 1) .. ':' .. shelf, field)
    if found then
      local time, its_answer = string.match(sub(found, 17), '^(%d+) (.*)$')
      if now < tonumber(time) + DAY_MICROS then
        answer = sub(found, 1, 16) == request and 'R' .. its_answer or 'M'
      end
    end
  end
  if not answer then
    if waits then
      answer = held[name .. ' ' .. user] or cold(name, user, code, excludes)
    else
      answer = decide(name, user, code, import, excludes, origin)
    end
    local mark = sub(answer, 1, 1)
    if mark == 'T' or mark == 'B' or mark == 'W' then
      waits = true
      held = held or {}
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

if kept then
  local shelves = tag .. ':i:' .. format('%d', floor(now / DAY_MICROS)) .. ':'
  for field, answer in pairs(kept) do
    call('HSET', shelves .. answer[1], field, answer[2])
  end
end
if last == first then return answers end

for i = 1, #touched do
  local place = touched[i]
  local out = place.out
  if out[6] == false then
    -- The record has more entries than before.
    local entries, most = place.entries, MAX_INLINE_ENTRIES
    out[6] = format('%d', entries)
    if place.level then most = MAX_MEAN_BUCKET_ENTRIES * (2 ^ place.level + place.split) end
    has_outgrown = has_outgrown or entries > most
  end
  call('HSET', place.key, unpack(out))
  -- A key carries a TTL only while the ledger has its last transition.
  call('PERSIST', place.key)
end

for i = 1, #events, 2 do
  call('XADD', tag .. ':j', events[i], 'e', events[i + 1])
end
for i = 1, #pending, 2000 do
  call('HSET', tag .. ':u', unpack(pending, i, math.min(i + 1999, #pending)))
end
call('SET', tag .. ':l', last_text)

if lists then
  local MAX_LIST_ENTRIES, LIST_SHARE, LIST_SLACK_ENTRIES = 1000, 8, 64
  local durable
  -- The newest entries of a large target are a cache: kept while it is there, dropped where
  -- keeping it would cost a search.
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
        durable = durable or tonumber(call('GET', tag .. ':d') or 0)
        local oldest = call('LINDEX', key, most)
        if tonumber(string.match(oldest, ' (%d+)$')) <= durable then
          call('LTRIM', key, 0, most - 1)
        end
      end
    else
      call('LREM', key, 1, user .. ' ' .. before)
    end
  end
end

if not has_outgrown then return answers end

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
  return tonumber(record.entries) > MAX_MEAN_BUCKET_ENTRIES * (2 ^ record.level + record.split)
    and record.level <= MAX_LEVEL
end

local function write_layout(record)
  call('HSET', record.key, '#b', record.level .. '.' .. record.split .. '.' .. record.generation)
end

-- A record that has become too large gives its entries to buckets. Their generation is the place
-- of its last transition, which no other layout can have.
local function spread(record)
  record.level, record.split, record.generation = 1, 0, record.out[2]
  while is_crowded(record) do grow(record) end
  local filled = fill(record, call('HGETALL', record.key), record.out[2])
  call('UNLINK', record.key)
  call('HSET', record.key, '#c', record.count, '#r', record.out[2], '#n', record.entries)
  write_layout(record)
  local function each(level, from, to)
    for prefix = from, to do
      local bucket = level .. '.' .. prefix
      write_bucket(record, bucket, filled[bucket] or { '#r', record.out[2] }, -1)
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
      if tonumber(record.entries) > MAX_INLINE_ENTRIES then spread(record) end
    elseif is_crowded(record) then
      repeat split(record) until not is_crowded(record)
      write_layout(record)
    end
  end
end
return answers
