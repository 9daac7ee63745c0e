-- KEYS: parked, asked   ARGV: request, then NUL-joined (slice, key) of every slice. How many of them are parked.
local found = 0
for number = 2, #ARGV do
    local record = redis.call('HGET', KEYS[1], ARGV[number])
    if record then
        record = cmsgpack.unpack(record)
        record[6] = ARGV[1]
        redis.call('HSET', KEYS[1], ARGV[number], cmsgpack.pack(record))
        redis.call('HSET', KEYS[2], ARGV[number], ARGV[1])
        found = found + 1
    end
end
return found
