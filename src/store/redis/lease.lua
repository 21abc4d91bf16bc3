-- One exchange of a member with the ledger of a quota: reports use, gives back, asks for slices and seats.
-- KEYS[1] is the ledger, one value packed by cmsgpack, so that it is evicted as a whole. script.rs writes ARGV and reads the
-- answer. Times are µs, amounts are {requests, input, output}.
local at = 0
local function text() at = at + 1; return ARGV[at] end
local function number() return tonumber(text()) end
local function amount() return {number(), number(), number()} end

local BINS = 100
local EARLY = 0.02
-- Number of bytes of the log from which on a snapshot is wanted, and from which on it is forgotten.
local LONG, LONGEST = 16384, 1048576

local id, epoch, serial, seen, elapsed = text(), number(), number(), number(), number()
local joins, returns, grace, lease, report = number() == 1, number() == 1, number(), number(), number()
local rows, windows = {}, {}
for k = 1, number() do rows[k] = {age = number(), v = amount()} end
for k = 1, number() do
  windows[k] = {period = number(), unit = number(), limit = number(), burst = number(), rate = number() / 1e6}
end
local keep, want, least = amount(), amount(), amount()
local held, seats_wanted, seats = number(), number(), number()
local probes, base, position, batch, events, learnt = number() == 1, number(), number(), number(), text(), text()

-- The part of an amount that a window counts: requests, all tokens, input or output.
local function of(unit, v)
  if unit == 1 then return v[1] elseif unit == 2 then return v[2] + v[3] else return v[unit - 1] end
end

local clock = redis.call('TIME')
local wall = clock[1] * 1000000 + clock[2]
local packed = redis.call('GET', KEYS[1])
local fine, s = pcall(cmsgpack.unpack, packed or '')
if not packed or not fine or type(s) ~= 'table' or not s.members then
  -- The clock goes on as its first member knows it, so that the times that members keep stay valid.
  local start = seen > 0 and seen + elapsed or wall
  s = {epoch = wall, serial = 0, offset = start - wall, now = start, fresh = start + grace, recovers = 0,
    base = 1, learnt = '', log = '', log_at = 0, windows = {}, members = {}}
end

-- The ledger's clock never goes back with the machine's. A jump forward would empty all windows: nobody has come for a second,
-- and this member's own clock says that less time has passed.
local now = math.max(wall + s.offset, s.now)
if now - s.now > 1000000 and epoch == s.epoch and seen > 0 then
  now = math.max(s.now, math.min(now, seen + elapsed))
end
-- Nobody has come for longer than members in need stay away: this machine was out of reach for all. They say what they used
-- meanwhile before anything is granted. `again` is when the first of them came, who may not have noticed.
if now - s.now > 400000 then s.again = now end
s.offset, s.now = now - wall, now
if returns and s.again and now - s.again < grace then
  s.fresh, s.recovers = math.max(s.fresh, s.again + grace), 1
end

local longest = 0
for _, w in ipairs(windows) do longest = math.max(longest, w.period) end
local ttl = math.ceil(math.max(2 * longest, 3600000000) / 1000)
local function save()
  s.serial = s.serial + 1
  redis.call('SET', KEYS[1], cmsgpack.pack(s), 'PX', string.format('%d', ttl))
end

-- A ledger that has forgotten what this member saw of it is one from before a failover: all members declare again.
if epoch == s.epoch and s.serial < serial then
  s.epoch, s.fresh, s.recovers = math.max(wall, s.epoch + 1), now + grace, 1
end
local me = s.members[id]
if not joins and (not me or s.epoch ~= epoch) then
  save()
  return {1, s.epoch, s.serial, now}
end
if not me then
  me = {out = {0, 0, 0}, got = {0, 0, 0}, got_at = now, want = {0, 0, 0}, least = {0, 0, 0}, seats = 0, seats_wanted = 0,
    held = 0, ends = now, lease = lease, report = -1}
  s.members[id] = me
end
if not me.rank then
  local ranks = {}
  for _, m in pairs(s.members) do if m.rank then ranks[m.rank] = true end end
  me.rank = 0
  while ranks[me.rank] do me.rank = me.rank + 1 end
end
if joins and #rows > 0 and now < s.fresh then
  s.recovers, s.fresh = 1, math.max(s.fresh, now + grace)
end

-- A period of zero: only what is granted and not used yet counts.
for _, w in ipairs(windows) do if w.period > 0 then
  local name = string.format('%d:%d', w.period, w.unit)
  local old = s.windows[name]
  if not old then
    old = {period = w.period, unit = w.unit, bins = {}, level = 0, at = now}
    s.windows[name] = old
  end
  old.listed = now
  w.state, w.width = old, w.period / BINS
end end

-- Counts an amount that was used at a time. What turned out to be less is taken off the bins from that time on.
local function count(time, v)
  for _, w in pairs(s.windows) do
    local x, width = of(w.unit, v), w.period / BINS
    local bin = math.floor(math.min(time, now) / width)
    if x > 0 then
      w.bins[bin] = (w.bins[bin] or 0) + x
    elseif x < 0 then
      for k = math.max(bin, math.floor((now - w.period) / width)), math.floor(now / width) do
        local there = w.bins[k]
        if there and x < 0 then
          local less = math.min(there, -x)
          w.bins[k], x = there - less, x + less
        end
      end
    end
  end
end

-- What a member that fell silent may have used counts from the end of its lease, until it says what it used.
local others, hungry, alive = {0, 0, 0}, {}, 1
local seats_used, seats_asked, in_flight = 0, {}, held
for name, m in pairs(s.members) do
  if name ~= id then
    if m.ends <= now then
      if m.out[1] + m.out[2] + m.out[3] > 0 then
        count(m.ends, m.out)
        m.presumed, m.presumed_at, m.out = m.out, m.ends, {0, 0, 0}
      end
      if m.ends + m.lease <= now then m.seats, m.seats_wanted, m.held = 0, 0, 0 end
    else
      alive = alive + 1
    end
    for k = 1, 3 do others[k] = others[k] + m.out[k] end
    if m.want[1] > 0 and m.asks_until > now then hungry[#hungry + 1] = m end
    seats_used = seats_used + m.seats
    in_flight = in_flight + m.held
    if m.seats_wanted > 0 then seats_asked[#seats_asked + 1] = m end
    if m.ends + math.min(math.max(longest, 10000000), 60000000) + 2 * m.lease <= now then s.members[name] = nil end
  end
end

if me.presumed then
  count(me.presumed_at, {-me.presumed[1], -me.presumed[2], -me.presumed[3]})
  me.presumed = nil
end
local used = {0, 0, 0}
if report ~= me.report then
  me.report = report
  for _, row in ipairs(rows) do
    count(now - row.age, row.v)
    for k = 1, 3 do used[k] = used[k] + row.v[k] end
  end
end
local change = {}
for k = 1, 3 do change[k] = used[k] + keep[k] - me.out[k] end

for name, w in pairs(s.windows) do
  w.used = 0
  for bin, x in pairs(w.bins) do
    if x <= 0 or (bin + 1) * (w.period / BINS) + w.period <= now then w.bins[bin] = nil else w.used = w.used + x end
  end
  if w.listed + w.period < now and w.used == 0 then s.windows[name] = nil end
end

-- One member finds out whether a pause is over. It may until its lease ends, or until it says that it did.
local probe = probes and (not s.prober or s.prober == id or s.prober_ends <= now)
if probe then s.prober, s.prober_ends = id, now + lease elseif s.prober == id then s.prober = nil end

local usage = {}
for k, w in ipairs(windows) do
  local state, need = w.state, of(w.unit, least)
  w.held = of(w.unit, others) + of(w.unit, keep)
  if state then
    -- What was used without a grant fills the bucket, but leaves no debt.
    local before = math.max(0, state.level - w.rate * (now - state.at))
    state.level = math.max(0, math.min(before + of(w.unit, change), math.max(before, w.burst)))
    state.at = now
    w.held = w.held + state.used
  end
  w.by_limit, w.by_burst = w.limit - w.held, w.burst - (state and state.level or 0)
  -- A request larger than a window, or than its burst, is admitted when nothing else is in it. What was granted to others is
  -- of no use to them while only a probe is sent.
  if w.held <= 0 or not state and probe then w.by_limit = math.max(w.by_limit, need) end
  if not state or state.level <= 0 then w.by_burst = math.max(w.by_burst, need) end
  if state and now < s.fresh then
    local early = s.recovers == 1 and 0 or math.max(w.limit * EARLY - w.held, w.held <= 0 and need or 0)
    w.by_limit = math.min(w.by_limit, early)
  end
  w.free = math.max(0, math.min(w.by_limit, w.by_burst))
  usage[k] = w.held
end

-- What a member got lately, fading away.
local fades = math.min(math.max(longest, 1000000), 60000000) / 2
local function level(m, unit) return of(unit, m.got) * math.exp((m.got_at - now) / fades) end
local function is_before(m, unit, mine)
  local theirs = level(m, unit)
  return theirs < mine or (theirs == mine and (m.hungry or now) < (me.hungry or now))
end

-- The level up to which `free` fills all who ask, each from what it got lately and by at most what it wants.
local function fill(free, asks)
  local total, low, high = 0, math.huge, 0
  for _, a in ipairs(asks) do
    total, low, high = total + a.want, math.min(low, a.level), math.max(high, a.level + a.want)
  end
  if total <= free then return high end
  for _ = 1, 30 do
    local middle, sum = (low + high) / 2, 0
    for _, a in ipairs(asks) do sum = sum + math.min(a.want, math.max(0, middle - a.level)) end
    if sum > free then high = middle else low = middle end
  end
  return low
end

local grant, retry = {0, 0, 0}, 0
if want[1] > 0 then
  local tight, part, fits = nil, math.huge, true
  for _, w in ipairs(windows) do
    local wanted = of(w.unit, want)
    if wanted > 0 and w.free / wanted < part then tight, part = w, w.free / wanted end
    if of(w.unit, least) > w.free then fits = false end
  end
  local before = {0, 0, 0}
  part = math.min(part, 1)
  if tight and #hungry > 0 and not probe then
    local unit, mine, wanted = tight.unit, level(me, tight.unit), of(tight.unit, want)
    local asks = {{want = wanted, level = mine}}
    for k, m in ipairs(hungry) do asks[k + 1] = {want = of(unit, m.want), level = level(m, unit), member = m} end
    local top, reserved = fill(tight.free, asks), 0
    for k = 2, #asks do
      local m = asks[k].member
      if is_before(m, unit, mine) then
        reserved = reserved + math.max(of(unit, m.least), math.min(asks[k].want, math.max(0, top - asks[k].level)))
        for i = 1, 3 do before[i] = before[i] + m.least[i] end
      end
    end
    local share = math.min(wanted, math.max(0, top - mine), tight.free - reserved)
    -- Less than one request is of no use; who is next in turn gets a whole one.
    if share < of(unit, least) then share = tight.free - reserved >= of(unit, least) and of(unit, least) or 0 end
    part = math.max(0, math.min(part, share / wanted))
    if share <= 0 then fits = false end
  end
  if fits then
    for k = 1, 3 do grant[k] = math.max(math.floor(want[k] * part), least[k]) end
    for _, w in ipairs(windows) do
      if of(w.unit, grant) > w.free then grant = {least[1], least[2], least[3]} end
    end
  end
  if grant[1] == 0 then
    for _, w in ipairs(windows) do
      local need = of(w.unit, least) + of(w.unit, before)
      if need > w.by_burst and w.rate > 0 then retry = math.max(retry, (need - w.by_burst) / w.rate) end
      local missing = need - w.by_limit
      if missing > 0 and not w.state then
        retry = math.max(retry, math.min(math.max(0.25 / w.rate, 5000), 250000))
      elseif missing > 0 then
        local first, last = math.floor((now - w.period) / w.width) - 1, math.floor(now / w.width)
        local waits = lease
        for bin = first, last do
          missing = missing - (w.state.bins[bin] or 0)
          if missing <= 0 then waits = (bin + 1) * w.width + w.period - now break end
        end
        retry = math.max(retry, waits)
      end
    end
    if now < s.fresh then retry = math.min(retry, s.fresh - now) end
    retry = math.max(retry, 1000)
  end
end

for k = 1, 3 do
  me.got[k] = me.got[k] * math.exp((me.got_at - now) / fades) + grant[k]
  me.out[k] = keep[k] + grant[k]
  me.want[k] = want[k] - grant[k]
end
me.got_at, me.least, me.lease, me.ends = now, least, lease, now + lease
me.asks_until = now + math.min(retry, 1000000) + 2 * lease
me.hungry = me.want[1] > 0 and (grant[1] == 0 and me.hungry or now) or nil
for _, w in ipairs(windows) do
  if w.state then w.state.level = w.state.level + of(w.unit, grant) end
end

local given, steady = 4294967295, 4294967295
if seats >= 0 then
  local asks = {{want = seats_wanted, level = 0}}
  for k, m in ipairs(seats_asked) do asks[k + 1] = {want = m.seats_wanted, level = 0} end
  steady = math.floor(math.min(seats_wanted, fill(seats, asks)) + 0.0001)
  local free = math.max(0, seats - seats_used - held)
  given = math.min(math.max(held, steady), held + free)
  if given == held and seats_wanted > held and free >= 1 then
    local turn = true
    for _, m in ipairs(seats_asked) do
      if m.seats_wanted > m.seats and (m.seats < held or (m.seats == held and (m.seat_at or 0) < (me.seat_at or 0))) then
        turn = false
      end
    end
    if turn then given = held + 1 end
  end
  if given > held then me.seat_at = now end
  me.seats, me.seats_wanted = given, seats_wanted
end

me.held = held

-- What was learnt: a snapshot, and the log of the events since then. All begin anew with each snapshot, which makes up for
-- differences between them.
local last = s.log_at + #s.log
local known = epoch == s.epoch and base == s.base and position >= s.log_at and position <= last
if known and #learnt > 0 then
  s.learnt, s.base, base = learnt, s.base + 1, s.base + 1
  s.log, s.log_at = string.sub(s.log, position - s.log_at + 1), position
end
local missed = string.sub(s.log, known and position - s.log_at + 1 or 1)
local appended = 0
if #events > 0 and me.batch ~= batch then
  -- Each batch ends with the number of all requests in flight, so that those of dead members do not stay.
  local bytes, rest = {}, in_flight
  for k = 1, 4 do
    bytes[k] = rest % 256
    rest = math.floor(rest / 256)
  end
  s.log = s.log .. events .. string.char(6, unpack(bytes))
  me.batch, appended = batch, 1
end
last = s.log_at + #s.log
if #s.log > LONGEST then s.base, s.learnt, s.log, s.log_at = s.base + 1, '', '', last end
save()
return {0, s.epoch, s.serial, now, grant[1], grant[2], grant[3], given, steady, retry, alive, me.rank,
  math.max(0, s.fresh - now), probe and 1 or 0, s.base, known and '' or s.learnt, missed, appended, last,
  (#s.log > LONG or s.learnt == '') and 1 or 0, in_flight, usage}
