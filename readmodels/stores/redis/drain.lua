-- KEYS: generations, checkpoints, rows, parked, lines, by:0, by:1, ...
-- ARGV: generation, its record, the packed drain, and the stored rows it numbers. Returns 1 when it was applied, else 0.

local packed = cmsgpack.unpack(ARGV[3])
local slice, expected, key, first, through, is_done, failed = unpack(packed, 1, 7)
local name = slice .. '\0' .. key

if redis.call('HGET', generations, ARGV[1]) ~= ARGV[2] or not is_whole() then return 0 end
if (redis.call('HGET', checkpoints, slice) or '0') ~= expected then return 0 end
local record = redis.call('HGET', parked, name)
if not record then return 0 end
record = cmsgpack.unpack(record)
if record[1] ~= first then return 0 end

write(packed[8])
if through ~= '' then
    redis.call('ZREMRANGEBYLEX', lines, '[' .. name .. '\0', '[' .. name .. '\0' .. through)
end
if is_done then
    redis.call('HDEL', parked, name)
    redis.call('ZREM', firsts, name)
    redis.call('HDEL', asked, name, '\1' .. name)
    return 1
end
if through ~= '' then
    local left = redis.call('ZRANGEBYLEX', lines, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, 1)
    record[1] = string.sub(left[1], #name + 2)
    record[3] = redis.call('ZLEXCOUNT', lines, '[' .. name .. '\0', '(' .. name .. '\1')
    if record[6] == 'discard' then record[6] = 'retry' end
end
if failed ~= '' then
    record[2], record[4], record[6] = failed, record[4] + 1, ''
end
redis.call('HSET', parked, name, cmsgpack.pack(record))
index(name, record)
return 1
