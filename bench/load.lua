-- For wrk: asks for the paths of a file in their order, over and over or once, and writes what was
-- measured as one line of JSON. wrk waits for its time to be over even if all was asked for once, so
-- the time until then is taken here.
local ffi = require("ffi")
ffi.cdef [[
   typedef struct { long seconds, nanoseconds; } bench_time;
   int clock_gettime(int clock, bench_time *now);
]]

local function now()
   local result = ffi.new("bench_time")
   ffi.C.clock_gettime(1, result) -- CLOCK_MONOTONIC
   return tonumber(result.seconds) + tonumber(result.nanoseconds) / 1e9
end

local threads = {}
local requests, next_one = {}, 0
local once = os.getenv("BENCH_ONCE") == "1"

function setup(thread)
   threads[#threads + 1] = thread
end

function init()
   for path in io.lines(os.getenv("BENCH_PATHS")) do
      requests[#requests + 1] = wrk.format("GET", path)
   end
end

function request()
   -- wrk calls once before it begins, to see what it gets: that call sends nothing.
   local current = next_one
   next_one = next_one + 1
   if current == 1 then
      began = now()
   end
   if once and current > #requests then
      took = now() - began
      wrk.thread:stop()
   end
   return requests[(math.max(current, 1) - 1) % #requests + 1]
end

function done(summary, latency)
   local errors = summary.errors
   local seconds = threads[1]:get("took") or summary.duration / 1e6
   local out = io.open(os.getenv("BENCH_RESULT"), "w")
   out:write(string.format(
      '{"requests": %d, "seconds": %f, "bytes": %d, "failed": %d, "p50": %f, "p95": %f, "p99": %f}\n',
      summary.requests, seconds, summary.bytes,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1e6, latency:percentile(95) / 1e6, latency:percentile(99) / 1e6))
   out:close()
end
