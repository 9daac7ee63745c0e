-- KEYS: rows, checkpoints, parked, firsts, and the order of each walk   ARGV: command, how many rows, how many members at most,
-- the walks: {lowest, highest, conditions}, a condition being {number of a member in the row, lowest, behind the highest}.
-- Of several walks the one of the fewest members is gone, from one end, until the page is full; every member costs a look at its
-- row where there are conditions. Returns the checkpoints, none when rows or orders are lost; the stored rows in order; how many
-- keys are parked; where the first of them waits, if the index of that is whole; and the last row looked at, if there were too many.
local BATCH = 200
local rows, checkpoints, parked, firsts = unpack(KEYS, 1, 4)
local command, wanted, touched_max, walks = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), cmsgpack.unpack(ARGV[4])

-- By bytes: Lua's own comparison goes by the server's locale.
local function is_below(text, bound)
    for place = 1, math.min(#text, #bound) do
        local byte, other = string.byte(text, place), string.byte(bound, place)
        if byte ~= other then return byte < other end
    end
    return #text < #bound
end

local function holds(conditions, stored)
    if #conditions == 0 then return true end
    local members = cmsgpack.unpack(stored)[3]
    for _, condition in ipairs(conditions) do
        local member = members[condition[1]]
        if is_below(member, condition[2]) or not is_below(member, condition[3]) then return false end
    end
    return true
end

local count = redis.call('HLEN', rows) - redis.call('HEXISTS', rows, '\0')
local is_whole = redis.call('EXISTS', rows) == redis.call('EXISTS', checkpoints)
local chosen, fewest = 1, false
for number, walk in ipairs(walks) do
    is_whole = is_whole and redis.call('ZCARD', KEYS[number + 4]) == count
    local length = #walks > 1 and redis.call('ZLEXCOUNT', KEYS[number + 4], walk[1], walk[2])
    if length and (not fewest or length < fewest) then chosen, fewest = number, length end
end
if not is_whole then return {{}, {}, 0, false, false} end

local lowest, highest, conditions = unpack(walks[chosen])
local from, to = lowest, highest
if command == 'ZREVRANGEBYLEX' then from, to = highest, lowest end
local batch = #conditions > 0 and BATCH or wanted
local found, touched, last, is_over = {}, 0, false, false
repeat
    local size = math.min(batch, touched_max - touched)
    local members = redis.call(command, KEYS[chosen + 4], from, to, 'LIMIT', 0, size)
    local keys = {}
    for number, member in ipairs(members) do keys[number] = string.match(member, '([^%z]*)$') end
    local stored = #keys > 0 and redis.call('HMGET', rows, unpack(keys)) or {}
    for _, row in ipairs(stored) do
        if #found < wanted and holds(conditions, row) then found[#found + 1] = row end
        last = row
    end
    touched, is_over = touched + #members, #members < size
    if #members > 0 then from = '(' .. members[#members] end
until is_over or #found == wanted or touched == touched_max

local parked_count = redis.call('HLEN', parked)
local first = redis.call('ZCARD', firsts) == parked_count and redis.call('ZRANGE', firsts, 0, 0, 'WITHSCORES')[2] or false
return {redis.call('HGETALL', checkpoints), found, parked_count, first, not is_over and #found < wanted and last}
