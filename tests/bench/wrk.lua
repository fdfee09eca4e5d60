-- Load for wrk: bodies from a file, each "@ID@" in them a fresh message id; or paths, likewise.
--
--   wrk … -s wrk.lua URL -- post PATH FILE WRITE_KEY
--   wrk … -s wrk.lua URL -- get FILE TOKEN            each line of FILE is a path
--
-- At the end one line: BENCH {json}

local hex = {}
for i = 0, 65535 do
  hex[i] = string.format("%04x", i)
end
local random = math.random

local function uuid()
  return hex[random(0, 65535)] .. hex[random(0, 65535)] .. "-" .. hex[random(0, 65535)] .. "-4"
    .. hex[random(0, 65535)]:sub(2) .. "-a" .. hex[random(0, 65535)]:sub(2) .. "-"
    .. hex[random(0, 65535)] .. hex[random(0, 65535)] .. hex[random(0, 65535)]
end

-- The text between ids; ids go into the even places.
local function split(line)
  local parts = {}
  local at = 1
  while true do
    local from, to = line:find("@ID@", at, true)
    if not from then
      parts[#parts + 1] = line:sub(at)
      return parts
    end
    parts[#parts + 1] = line:sub(at, from - 1)
    parts[#parts + 1] = ""
    at = to + 1
  end
end

local lines = {}
local next_line = 0
local method, path, headers

function init(args)
  math.randomseed(os.time() * 1000 + (tonumber(tostring(lines):match("0x(%x+)"), 16) % 1000))
  local file
  if args[1] == "get" then
    method, file = "GET", args[2]
    headers = args[3] and { Authorization = "Bearer " .. args[3] } or {}
  else
    method, path, file = "POST", args[2], args[3]
    headers = { ["Content-Type"] = "application/json", ["X-Write-Key"] = args[4] }
  end
  for line in io.lines(file) do
    lines[#lines + 1] = method == "GET" and wrk.format(method, line, headers) or split(line)
  end
  next_line = random(0, #lines - 1)
end

function request()
  next_line = next_line % #lines + 1
  local parts = lines[next_line]
  if method == "GET" then
    return parts
  end
  for i = 2, #parts, 2 do
    parts[i] = uuid()
  end
  return wrk.format(method, path, headers, table.concat(parts))
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    'BENCH {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "max": %f, "errors": %d, "refused": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000, e.connect + e.read + e.write + e.timeout, e.status))
end
