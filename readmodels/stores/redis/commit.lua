-- KEYS: generations, checkpoints, rows, parked, lines, by:0, by:1, ...
-- ARGV: generation, its record, slices' advances, and the stored rows they number. Returns the slices that moved.
local moved = {}

local function first_of(slice, key)
    local record = redis.call('HGET', parked, slice .. '\0' .. key)
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

local function wait(slice, key, positions, failed, now)
    local name = slice .. '\0' .. key
    for _, position in ipairs(positions) do redis.call('ZADD', lines, 0, name .. '\0' .. position) end
    local record = redis.call('HGET', parked, name)
    record = record and cmsgpack.unpack(record) or {positions[1], failed, 0, 1, now, ''}
    record[3] = record[3] + #positions
    redis.call('HSET', parked, name, cmsgpack.pack(record))
    index(name, record)
end

redis.call('HSETNX', generations, ARGV[1], ARGV[2])
if redis.call('HGET', generations, ARGV[1]) ~= ARGV[2] or not is_whole() then return moved end

for _, packed in ipairs(cmsgpack.unpack(ARGV[3])) do
    local advance = {slice = packed[1], expected = packed[2], position = packed[3], lines = packed[6]}
    if is_standing(advance) then
        moved[#moved + 1] = advance.slice
        redis.call('HSET', checkpoints, advance.slice, advance.position, 'mark:' .. advance.slice, packed[7])
        redis.call('HSET', rows, '\0', '')
        write(packed[4])
        for _, line in ipairs(packed[5]) do wait(advance.slice, line[1], line[2], line[3], line[4]) end
    end
end
return moved
