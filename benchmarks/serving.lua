-- Posts the bodies of benchmarks/serving.py, and compares every answer with the runtime's scores.
-- wrk doesn't tell which request an answer belongs to, so the first score says which: they all differ.
local ffi = require("ffi")
local requests, expected = {}, {}
compared, wrong, at = 0, 0, 0
local threads = {}

function setup(thread) table.insert(threads, thread) end

local function content(name)
  local file = assert(io.open(os.getenv("BODIES") .. "/" .. name, "rb"))
  local text = file:read("*all")
  file:close()
  return text
end

function init(arguments)
  local headers = {["Content-Type"] = "application/x-npy", ["Accept"] = "application/x-npy"}
  for i = 0, tonumber(os.getenv("COUNT")) - 1 do
    requests[i] = wrk.format("POST", wrk.path .. "?seed=" .. i, headers, content(i .. ".npy"))
    expected[i] = content(i .. ".scores")
  end
end

function request()
  at = (at + 1) % (#requests + 1)
  return requests[at]
end

local function close(a, b) return math.abs(a - b) <= 1e-5 * math.max(1, math.abs(b)) end

-- What is wrong with an answer, or nil.
local function mistake(status, body)
  if status ~= 200 then return "status " .. status .. ": " .. body end
  for i = 0, #expected do
    local count = #expected[i] / 8
    if #body == 128 + #expected[i] then  -- the header of .npy has 128 bytes
      local found, wanted = ffi.cast("const double*", ffi.cast("const char*", body) + 128), ffi.cast("const double*", expected[i])
      if close(found[0], wanted[0]) then
        for j = 1, count - 1 do
          if not close(found[j], wanted[j]) then return "score " .. j .. " is " .. found[j] .. ", not " .. wanted[j] end
        end
        return nil
      end
    end
  end
  return "scores of no request, in " .. #body .. " bytes"
end

function response(status, headers, body)
  compared = compared + 1
  local what = mistake(status, body)
  if what then
    wrong = wrong + 1
    io.stderr:write(what .. "\n")
  end
end

function done(summary, latency, _)
  local all, bad = 0, 0
  for _, thread in ipairs(threads) do
    all, bad = all + thread:get("compared"), bad + thread:get("wrong")
  end
  print("compared " .. all .. " wrong " .. bad)
  print("errors " .. summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout)
end
