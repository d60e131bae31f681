-- Ends the group ARGV[1] of the stream KEYS[1], with what its members said in the other keys.
redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
redis.call('DEL', unpack(KEYS, 2))
return redis.status_reply('OK')
