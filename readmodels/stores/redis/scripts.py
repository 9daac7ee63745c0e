"""The four scripts. Each runs whole or, on a server that lacks memory, not at all; all keys of a view are in one hash slot.

    rows         key -> [position, row as JSON, members]      members: the row's place in each order, see places.py
    by:{n}       sorted set of the members of order n
    checkpoints  slice -> position, absent for 0
    parked       NUL-joined (slice, key) -> [position, error, waiting, attempts, parked at, request]
    lines        sorted set of NUL-joined (slice, key, position in 16 hexadecimal digits)
    generations  number -> [slices, shape, count of orders]      of the view; the highest is live

Values in brackets are MessagePack. Positions travel as text: Lua's numbers are floats.
"""

PREPARE = """
-- KEYS: generations   ARGV: number, record: made unless that number is taken. The record that stands.
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""

COMMIT = """
-- KEYS: generations, checkpoints, rows, parked, lines, by:0, by:1, ...
-- ARGV: generation, its record, slices' advances, and the stored rows they number. Returns the slices that moved.
local generations, checkpoints, rows, parked, lines = unpack(KEYS, 1, 5)
local moved = {}

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

local function first_of(slice, key)
    local record = redis.call('HGET', parked, slice .. '\\0' .. key)
    return record and cmsgpack.unpack(record)[1]
end

local function is_standing(advance)
    local position = redis.call('HGET', checkpoints, advance.slice) or '0'
    if position ~= advance.expected then return false end
    for _, line in ipairs(advance.lines) do
        if first_of(advance.slice, line[1]) ~= line[2] then return false end
    end
    return true
end

local function drain(slice, key, last, is_done)
    local name = slice .. '\\0' .. key
    redis.call('ZREMRANGEBYLEX', lines, '[' .. name .. '\\0', '[' .. name .. '\\0' .. last)
    if is_done then
        redis.call('HDEL', parked, name)
        return
    end
    local record = cmsgpack.unpack(redis.call('HGET', parked, name))
    local left = redis.call('ZRANGEBYLEX', lines, '[' .. name .. '\\0', '(' .. name .. '\\1', 'LIMIT', 0, 1)
    record[1] = string.sub(left[1], #name + 2)
    record[3] = redis.call('ZLEXCOUNT', lines, '[' .. name .. '\\0', '(' .. name .. '\\1')
    if record[6] == 'discard' then record[6] = 'retry' end
    redis.call('HSET', parked, name, cmsgpack.pack(record))
end

local function wait(slice, key, positions, failed, now)
    local name = slice .. '\\0' .. key
    for _, position in ipairs(positions) do redis.call('ZADD', lines, 0, name .. '\\0' .. position) end
    local record = redis.call('HGET', parked, name)
    record = record and cmsgpack.unpack(record) or {positions[1], '', 0, 0, now, ''}
    record[3] = record[3] + #positions
    if failed ~= '' then
        record[2], record[4], record[6] = failed, record[4] + 1, ''
    end
    redis.call('HSET', parked, name, cmsgpack.pack(record))
end

redis.call('HSETNX', generations, ARGV[1], ARGV[2])
if redis.call('HGET', generations, ARGV[1]) ~= ARGV[2] then return moved end

for _, packed in ipairs(cmsgpack.unpack(ARGV[3])) do
    local advance = {slice = packed[1], expected = packed[2], position = packed[3], lines = packed[7]}
    if is_standing(advance) then
        moved[#moved + 1] = advance.slice
        redis.call('HSET', checkpoints, advance.slice, advance.position)
        for _, row in ipairs(packed[4]) do
            place(row[1], unplace(row[1]), row[3])
            if row[2] > 0 then redis.call('HSET', rows, row[1], ARGV[row[2] + 3]) else redis.call('HDEL', rows, row[1]) end
        end
        for _, line in ipairs(packed[5]) do drain(advance.slice, line[1], line[2], line[3]) end
        for _, line in ipairs(packed[6]) do wait(advance.slice, line[1], line[2], line[3], line[4]) end
    end
end
return moved
"""

FIND = """
-- KEYS: rows, by:n, checkpoints   ARGV: command, from, to, count. Lowest checkpoints, then the stored rows in order.
local members = redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local keys = {}
for number, member in ipairs(members) do keys[number] = string.match(member, '([^%z]*)$') end
return {redis.call('HGETALL', KEYS[3]), #keys > 0 and redis.call('HMGET', KEYS[1], unpack(keys)) or {}}
"""

REQUEST = """
-- KEYS: parked   ARGV: request, then NUL-joined (slice, key) of every slice. How many of them are parked.
local found = 0
for number = 2, #ARGV do
    local record = redis.call('HGET', KEYS[1], ARGV[number])
    if record then
        record = cmsgpack.unpack(record)
        record[6] = ARGV[1]
        redis.call('HSET', KEYS[1], ARGV[number], cmsgpack.pack(record))
        found = found + 1
    end
end
return found
"""
