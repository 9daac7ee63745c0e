-- What commit, drain and standing begin with: the names of their keys, whether they belong together, and how rows are written
-- and placed in their orders.
local generations, checkpoints, rows, parked, lines = unpack(KEYS, 1, 5)
local REKEYED = 'keys no longer gives this key'  -- as in kernel/rows.py
local firsts, asked = parked .. ':firsts', parked .. ':asked'

-- The first commit makes checkpoints and rows, which hold a mark besides; every row has one member in every order. A server that
-- evicts, and whoever deletes, takes whole keys.
local function is_whole()
    local has_rows = redis.call('EXISTS', rows)
    if redis.call('EXISTS', checkpoints) ~= has_rows or redis.call('EXISTS', parked) ~= redis.call('EXISTS', lines) then return false end
    local count = redis.call('HLEN', rows) - redis.call('HEXISTS', rows, '\0')
    for number = 6, #KEYS do
        if redis.call('ZCARD', KEYS[number]) ~= count then return false end
    end
    return true
end

-- Where a line begins, what was asked for, and whether its event concerns other keys now, beside the records, which are long. A release before this one kept no such index.
local function index(name, record)
    redis.call('ZADD', firsts, tonumber(record[1], 16), name)
    local is_rekeyed = string.sub(record[2], 1, #REKEYED) == REKEYED
    if is_rekeyed then redis.call('HSET', asked, '\1' .. name, record[1]) else redis.call('HDEL', asked, '\1' .. name) end
    if record[6] == '' then redis.call('HDEL', asked, name) else redis.call('HSET', asked, name, record[6]) end
end

if redis.call('ZCARD', firsts) ~= redis.call('HLEN', parked) then
    redis.call('UNLINK', firsts, asked)
    local records = redis.call('HGETALL', parked)
    for number = 1, #records, 2 do index(records[number], cmsgpack.unpack(records[number + 1])) end
end

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
