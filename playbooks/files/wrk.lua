-- Sent by loadtest.yml. What wrk asks for, where it isn't a GET, and its figures as one line of JSON.
-- wrk ... -s wrk.lua URL [-- upload BYTES]
-- https://github.com/wg/wrk/blob/master/SCRIPTING

function init(args)
  if args[1] == "upload" then
    local edge = "renfo-load"
    local part = "--" .. edge .. "\r\nContent-Disposition: form-data; name="
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. edge
    wrk.body = part .. '"title"\r\n\r\nload test\r\n'
      .. part .. '"file"; filename="load.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
      .. string.rep("x", tonumber(args[2])) .. "\r\n--" .. edge .. "--\r\n"
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"duration_us": %d, "requests": %d, "bytes": %d, '
      .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}, '
      .. '"latency_us": {"mean": %.1f, "p50": %d, "p90": %d, "p99": %d}}\n',
    summary.duration, summary.requests, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency.mean, latency:percentile(50), latency:percentile(90), latency:percentile(99)
  ))
end
