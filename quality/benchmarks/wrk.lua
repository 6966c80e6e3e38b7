-- Sends one kind of request and prints: requests, microseconds, p50, p99 (microseconds), failures.
function init(args)
  wrk.method = args[1]
  if args[2] ~= "" then wrk.body = args[2] end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format("FIGURES %d %d %d %d %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end
