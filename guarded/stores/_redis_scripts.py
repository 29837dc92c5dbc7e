"""The scripts that run on a Redis server, each alone; all take the keys of a namespace and one order.

None of them looks into names, which may hold what a server's JSON does not take.
"""

from __future__ import annotations

_BEGINNING = """
local meta, streaks, totals, halts, callbacks, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local failures, audit, changes, applied = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local members, successes = KEYS[11], KEYS[12]
local order = cjson.decode(ARGV[1])

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function lease(runner, seconds)
  if seconds == 0 then return runner .. '|0' end
  return runner .. '|' .. string.format('%.3f', now() + seconds)
end

-- Let other processes hear of it: which scopes have a streak, or none, or another halt, and whether callbacks changed.
local function make_known(live, gone, halted, callbacks_changed)
  local n = redis.call('HINCRBY', meta, 'changes', 1)
  local made = {n}
  for i, list in ipairs({live, gone, halted}) do
    made[i + 1] = #list == 0 and '[]' or cjson.encode(list)
  end
  made[5] = callbacks_changed and 'true' or 'false'
  redis.call('XADD', changes, 'MAXLEN', '~', order.kept, '*', 'made', '[' .. table.concat(made, ',') .. ']')
  return n
end
"""

COMMIT = (
    _BEGINNING
    + """
if tonumber(redis.call('HGET', applied, order.process) or '0') >= order.number then return {'again'} end

local there, same = {'other'}, true
for i, pair in ipairs({{streaks, order.expected}, {halts, order.expected_halts}}) do
  for j, expected in ipairs(pair[2]) do
    local value = redis.call('HGET', pair[1], expected[1])
    if value ~= expected[2] then same = false end
    there[#there + 1] = value or ''
  end
end
if not same then return there end

redis.call('HSET', applied, order.process, order.number)
local live, gone = {}, {}
for i, scope in ipairs(order.cleared) do
  if redis.call('HDEL', streaks, scope) == 1 then gone[#gone + 1] = scope end
end
for i, pair in ipairs(order.streaks) do
  if pair[2] then
    if redis.call('HSET', streaks, pair[1], pair[2]) == 1 then live[#live + 1] = pair[1] end
  elseif redis.call('HDEL', streaks, pair[1]) == 1 then
    gone[#gone + 1] = pair[1]
  end
end
for i, pair in ipairs(order.halts) do
  if pair[2] then redis.call('HSET', halts, pair[1], pair[2]) else redis.call('HDEL', halts, pair[1]) end
end
for i, episode in ipairs(order.begun) do
  redis.call('HSET', callbacks, episode, lease(order.runner, order.lease))
end
for i, episode in ipairs(order.over) do redis.call('HDEL', callbacks, episode) end
for i, halt in ipairs(order.ended) do redis.call('RPUSH', ended, halt) end
if #order.ended > 0 then redis.call('LTRIM', ended, -order.ended_kept, -1) end
if order.forget then redis.call('DEL', failures, totals) end
for i, total in ipairs(order.counted) do redis.call('HINCRBY', totals, total, 1) end
if order.failure then
  redis.call('RPUSH', failures, order.failure)
  redis.call('LTRIM', failures, -order.keep, -1)
end
for i, entry in ipairs(order.audit) do redis.call('RPUSH', audit, entry) end

local position = 0
local halted, callbacks_changed = {}, #order.begun > 0 or #order.over > 0
for i, pair in ipairs(order.halts) do halted[i] = pair[1] end
if #halted > 0 or #live > 0 or #gone > 0 or callbacks_changed then
  position = make_known(live, gone, halted, callbacks_changed)
end
return {'done', tostring(position)}
"""
)
"""Carries out a transaction, if what it read is still so; else says what is there now."""

BEAT = (
    _BEGINNING
    + """
redis.call('HSET', members, order.process, order.member)
for i, pair in ipairs(order.successes) do
  local before = redis.call('HGET', successes, pair[1])
  if not before or before < pair[2] then redis.call('HSET', successes, pair[1], pair[2]) end
end
for i, episode in ipairs(order.running) do
  local value = redis.call('HGET', callbacks, episode)
  if value and value:match('^(.*)|') == order.process then
    redis.call('HSET', callbacks, episode, lease(order.process, order.lease))
  end
end
return {}
"""
)
"""Notes a sign of life."""

LEAVE = (
    _BEGINNING
    + """
redis.call('HDEL', members, order.process)
redis.call('HDEL', applied, order.process)
local released = false
for i, episode in ipairs(redis.call('HKEYS', callbacks)) do
  if redis.call('HGET', callbacks, episode):match('^(.*)|') == order.process then
    redis.call('HSET', callbacks, episode, lease('', 0))
    released = true
  end
end
if released then make_known({}, {}, {}, true) end
return {}
"""
)
"""Takes a process off, and lets others run its callbacks."""

CLAIM = (
    _BEGINNING
    + """
local dead, claimed = {}, {}
for i, runner in ipairs(order.dead) do dead[runner] = true end
for i, episode in ipairs(order.episodes) do
  local value = redis.call('HGET', callbacks, episode)
  if value then
    local runner, till = value:match('^(.*)|(.*)$')
    if runner ~= order.process and (runner == '' or dead[runner] or tonumber(till) < now()) then
      redis.call('HSET', callbacks, episode, lease(order.process, order.lease))
      claimed[#claimed + 1] = episode
    end
  end
end
if #claimed > 0 then make_known({}, {}, {}, true) end
return claimed
"""
)
"""Takes over the callbacks of processes that are gone, or have not been heard of for too long."""

SNAPSHOT = (
    _BEGINNING
    + """
local last = redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 1)
return {
  redis.call('HGET', meta, 'changes') or '0',
  redis.call('HKEYS', streaks),
  redis.call('HGETALL', halts),
  redis.call('HGETALL', callbacks),
  last[1] and last[1][1] or '0-0',
}
"""
)
"""Reads all that a process has to know, as it is at one moment."""

READ = (
    _BEGINNING
    + """
return {redis.call('HGETALL', streaks), redis.call('HGETALL', halts), redis.call('HGETALL', totals)}
"""
)
"""Reads all rows, as they are at one moment."""
