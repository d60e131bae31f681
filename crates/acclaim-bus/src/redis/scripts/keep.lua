-- Makes the group ARGV[1] of the stream KEYS[1], unless there is one.
place(KEYS[1], ARGV[1])
return redis.status_reply('OK')
