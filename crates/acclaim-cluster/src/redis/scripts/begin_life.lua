-- Begins a partition anew, behind everything that the ledger has: what Redis holds of it from
-- before is out of sight from now on. Only the answers kept for repeated requests go along.
--
-- KEYS[1]  the tag of the life before
-- KEYS[2]  the tag of the new one
-- ARGV[1]  the place after which the journal begins
-- ARGV[2]  the time in microseconds, 0 to take the server's
-- Answers OK. It may be called again.

local call, format = redis.call, string.format
local old, new = KEYS[1], KEYS[2]
local now = tonumber(ARGV[2])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function carry(name)
  if call('EXISTS', old .. name) == 1 then call('RENAME', old .. name, new .. name) end
end
local today = math.floor(now / 86400000000)
for day = today - 1, today do
  for shelf = 0, 255 do
    carry(':i:' .. format('%d', day) .. ':' .. format('%02x', shelf))
  end
end
carry(':e')
-- Several may begin it. One who comes late changes nothing of what was decided in it meanwhile.
local from = ARGV[1]
local last = call('GET', new .. ':l')
if not last or (tonumber(last) < tonumber(from) and call('EXISTS', new .. ':j') == 0) then
  call('MSET', new .. ':l', from, new .. ':d', from, new .. ':h', '0 ' .. from, new .. ':o', '1')
elseif tonumber(last) < tonumber(from) then
  call('SET', new .. ':l', from)
end
return 'OK'
