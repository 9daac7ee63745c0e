-- KEYS: generations, states
-- ARGV: number, record: made unless that number is taken, and live from then on. Returns the record that stands.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
    for _, number in ipairs(redis.call('HKEYS', KEYS[1])) do
        if redis.call('HGET', KEYS[2], number) ~= 'building' then redis.call('HSET', KEYS[2], number, 'retired') end
    end
    redis.call('HSET', KEYS[2], ARGV[1], 'live')
end
return redis.call('HGET', KEYS[1], ARGV[1])
