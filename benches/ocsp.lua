-- For wrk: POSTs the requests of the file OCSP_REQUESTS (DER, one in hexadecimal on each line) in turn. With OCSP_NONCES the
-- last 16 octets of each request, its nonce, are different every time. With OCSP_GET the lines are paths, and are asked for by GET.
-- Prints one JSON object at the end.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init()
  nonces = os.getenv("OCSP_NONCES") ~= nil
  epoch, asked, requests = os.time() % 2 ^ 32, 0, {}
  for line in io.lines(os.getenv("OCSP_REQUESTS")) do
    if os.getenv("OCSP_GET") then
      requests[#requests + 1] = wrk.format("GET", line)
    else
      local der = line:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
      local request = wrk.format("POST", "/", { ["Content-Type"] = "application/ocsp-request" }, der)
      requests[#requests + 1] = nonces and request:sub(1, -17) or request
    end
  end
end

function request()
  asked = asked + 1
  local request = requests[asked % #requests + 1]
  if nonces then
    return request .. string.format("%08x%02x%06x", epoch, number % 256, asked % 2 ^ 24)
  end
  return request
end

function done(summary, latency)
  local errors = 0
  for _, count in pairs(summary.errors) do errors = errors + count end
  print(string.format('{"requests": %d, "seconds": %f, "errors": %d, "p99_ms": %f}', summary.requests,
    summary.duration / 1e6, errors, latency:percentile(99) / 1e3))
end
