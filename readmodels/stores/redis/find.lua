-- KEYS: rows, by:n, checkpoints, parked, firsts   ARGV: command, from, to, count.
-- Checkpoints, none when rows or order are lost; then the stored rows in order, then how many keys are parked, and
-- where the first of them waits, if the index of that is whole.
local count = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], '\0')
if redis.call('ZCARD', KEYS[2]) ~= count or redis.call('EXISTS', KEYS[1]) ~= redis.call('EXISTS', KEYS[3]) then return {{}, {}, 0, false} end
local members = redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local keys = {}
for number, member in ipairs(members) do keys[number] = string.match(member, '([^%z]*)$') end
local parked_count = redis.call('HLEN', KEYS[4])
local first = redis.call('ZCARD', KEYS[5]) == parked_count and redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')[2] or false
return {redis.call('HGETALL', KEYS[3]), #keys > 0 and redis.call('HMGET', KEYS[1], unpack(keys)) or {}, parked_count, first}
