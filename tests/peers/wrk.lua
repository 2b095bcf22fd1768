-- Checks every answer that wrk gets to /plaintext, and prints a line of counts.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

answered = 0
wrong = 0

function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 or body ~= "Hello, World!" then
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local answered, wrong, errors = 0, 0, 0
  for _, thread in ipairs(threads) do
    answered = answered + thread:get("answered")
    wrong = wrong + thread:get("wrong")
  end
  for _, count in pairs(summary.errors) do
    errors = errors + count
  end
  print(string.format("answered %d wrong %d errors %d", answered, wrong, errors))
end
