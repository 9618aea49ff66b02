-- The arithmetic of gcra.rs, for all keys of a request at once: all are charged, or none.
-- Of each key its interval and its window, in microseconds. Answers whether they were charged, and how far
-- ahead of now each is.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {1}
for i, key in ipairs(KEYS) do
  local every, within = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local done = tonumber(redis.call('GET', key) or 0)
  local ahead = math.max(0, math.min(done - now, within))
  answer[i + 1] = ahead
  -- Kept also when it is refused: a clock that was put back, or a rate that is another now, would otherwise refuse
  -- until then.
  if done - now > within then
    redis.call('SET', key, string.format('%.0f', now + within), 'PX', math.ceil(within / 1000))
  end
  if ahead + every > within then
    answer[1] = 0
  end
end
if answer[1] == 1 then
  for i, key in ipairs(KEYS) do
    local ahead = answer[i + 1] + tonumber(ARGV[2 * i - 1])
    answer[i + 1] = ahead
    redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
  end
end
return answer
