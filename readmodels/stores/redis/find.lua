-- KEYS: rows, by:n, checkpoints   ARGV: command, from, to, count. Lowest checkpoints, then the stored rows in order.
local members = redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local keys = {}
for number, member in ipairs(members) do keys[number] = string.match(member, '([^%z]*)$') end
return {redis.call('HGETALL', KEYS[3]), #keys > 0 and redis.call('HMGET', KEYS[1], unpack(keys)) or {}}
