-- Load for wrk: bodies from a file, each "@ID@" in them a fresh message id; or paths, likewise.
--
--   wrk … -s wrk.lua URL -- post PATH FILE WRITE_KEY [PAUSE]
--   wrk … -s wrk.lua URL -- get FILE [TOKEN [PAUSE]]   each line of FILE is a path
--
-- With PAUSE each connection waits between two requests: that many ms on average.
--
-- At the end one line: BENCH {json}

-- Ids are put together of two halves out of these: making each from nothing would cost wrk more than
-- the server's answer.
local PLACE = string.rep("#", 36)
local firsts, seconds = {}, {}
local random = math.random

local function make_halves()
  for i = 0, 65535 do
    firsts[i] = string.format("%08x-%04x-4%03x", random(0, 0x7fffffff), random(0, 65535), random(0, 4095))
    seconds[i] = string.format("-a%03x-%06x%06x", random(0, 4095), random(0, 0xffffff), random(0, 0xffffff))
  end
end

-- A whole request as the texts between its ids, with two places for the halves of each.
local function split(text)
  local parts = {}
  local at = 1
  while true do
    local from, to = text:find(PLACE, at, true)
    if not from then
      parts[#parts + 1] = text:sub(at)
      return parts
    end
    parts[#parts + 1] = text:sub(at, from - 1)
    parts[#parts + 1] = ""
    parts[#parts + 1] = ""
    at = to + 1
  end
end

local requests = {}
local at = 0

function init(args)
  math.randomseed(os.time())
  make_halves()
  local post = args[1] == "post"
  local headers = post and { ["Content-Type"] = "application/json", ["X-Write-Key"] = args[4] } or {}
  if not post and args[3] then
    headers.Authorization = "Bearer " .. args[3]
  end
  for line in io.lines(post and args[3] or args[2]) do
    if post then
      requests[#requests + 1] = split(wrk.format("POST", args[2], headers, (line:gsub("@ID@", PLACE))))
    else
      requests[#requests + 1] = wrk.format("GET", line, headers)
    end
  end
  at = random(0, #requests - 1)
  local pause = tonumber(args[post and 5 or 4])
  if pause then
    function delay() -- wrk asks for it where it is there
      return random(0, math.floor(2 * pause + 0.5))
    end
  end
end

function request()
  at = at % #requests + 1
  local parts = requests[at]
  if type(parts) == "string" then
    return parts
  elseif #parts == 4 then
    return parts[1] .. firsts[random(0, 65535)] .. seconds[random(0, 65535)] .. parts[4]
  end
  for i = 2, #parts, 3 do
    parts[i] = firsts[random(0, 65535)]
    parts[i + 1] = seconds[random(0, 65535)]
  end
  return table.concat(parts)
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    'BENCH {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "max": %f, "errors": %d, "refused": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000, e.connect + e.read + e.write + e.timeout, e.status))
end
