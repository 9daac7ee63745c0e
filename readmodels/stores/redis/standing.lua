-- KEYS: generations, checkpoints, rows, parked, lines, by:0, by:1, ...   The checkpoints.
-- What is left of a view that has lost a part is removed: it is folded again from the beginning.
if not is_whole() then redis.call('UNLINK', firsts, asked, unpack(KEYS, 2)) end
return redis.call('HGETALL', checkpoints)
