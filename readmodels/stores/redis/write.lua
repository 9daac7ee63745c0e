-- What commit and drain begin with: the names of their keys, and how rows are written and placed in their orders.
local generations, checkpoints, rows, parked, lines = unpack(KEYS, 1, 5)

local function unplace(key)
    local stored = redis.call('HGET', rows, key)
    if not stored then return {} end
    return cmsgpack.unpack(stored)[3]
end

local function place(key, before, after)
    for number = 1, #KEYS - 5 do
        if before[number] ~= after[number] then
            if before[number] then redis.call('ZREM', KEYS[number + 5], before[number]) end
            if after[number] then redis.call('ZADD', KEYS[number + 5], 0, after[number]) end
        end
    end
end

local function write(changes)
    for _, row in ipairs(changes) do
        place(row[1], unplace(row[1]), row[3])
        if row[2] > 0 then redis.call('HSET', rows, row[1], ARGV[row[2] + 3]) else redis.call('HDEL', rows, row[1]) end
    end
end
