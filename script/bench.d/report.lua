-- For wrk: what it sends, and the line that it prints at the end: requests, seconds, p50 and p99 in microseconds,
-- and the share of answers that were refusals. CASE names a write; anything else is the GET of the command line.
local case = os.getenv("CASE")
local threads = 0
local sent = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- A number that no other request of this run has.
local function unique()
  sent = sent + 1
  return os.getenv("RUN") .. "-" .. number .. "-" .. sent
end

local function post(path, content_type, body)
  wrk.headers["Content-Type"] = content_type
  return wrk.format("POST", path, nil, body)
end

local writes = {
  create = function()
    return post("/products", "application/json", '{"name":"Bench","sku":"' .. unique() .. '","price_sale":"1500.00"}')
  end,
  presign = function()
    return post("/files/upload/presign", "application/json",
      '{"filename":"' .. unique() .. '.jpg","content_type":"image/jpeg","module":"products","size":1}')
  end,
  -- Every sign-in is another person's from another place, or it would be taken for guessing.
  login = function()
    sent = sent + 1
    local person = (sent * 2 + number) % tonumber(os.getenv("PEOPLE")) + 1
    wrk.headers["X-Forwarded-For"] = "10.0." .. math.floor(person / 250) .. "." .. person % 250
    return post("/auth/login", "application/x-www-form-urlencoded",
      "username=bench" .. person .. "@example.com&password=password123")
  end,
}

if writes[case] then request = writes[case] end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  if broken > 0 then error(broken .. " requests were not answered") end
  print(summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status / math.max(summary.requests, 1))
end
