-- KEYS: generations, states
-- ARGV: number, its record ("" for one that is there), how many arguments follow that say what is known (number, state, ...),
-- those, and then every state as it is to be (number, state, ...). Nothing happens, and 0 is returned, when what is known has changed.
local last = 3 + ARGV[3]
if redis.call('HLEN', KEYS[1]) ~= ARGV[3] / 2 then return 0 end
for at = 4, last, 2 do
    if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 0 then return 0 end
    local noted = redis.call('HGET', KEYS[2], ARGV[at])
    if noted and noted ~= ARGV[at + 1] then return 0 end
end
if ARGV[2] ~= '' then redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) end
for at = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
return 1
