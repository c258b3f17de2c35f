-- Chooses a replica for each request to a service, and counts the requests in progress (cutover: live). nginx's workers
-- load this file by its path.
-- ID.conf calls `balance` with the peers that are on disk; a later generation in the dictionary takes precedence. Each
-- worker counts under its own pid, so that a killed worker's counts can be distinguished from the others.
-- `balance` and `finish` have no loops on the path of most requests, so LuaJIT compiles them as a whole.

local balancer = require "ngx.balancer"

local ngx = ngx
local var = ngx.var
local peers = ngx.shared.conductor_peers -- by service: its peers, as JSON
local EPOCH = " epoch" -- the key of a number that changes whenever the peers of any service change
-- By "PID NUMBER": how many are in progress; by the same key plus " peer": "SERVICE GENERATION IP:PORT". Keys are
-- short, because nginx reads one several times for each request.
local requests = ngx.shared.conductor_requests
local pid = ngx.worker.pid()
local sets = {} -- by service: its peers as this worker last used them
local peer_of = {} -- by entry in the request variable, "NUMBER,"
local numbered = 0 -- how many peers this worker has numbered
local replicas = setmetatable({}, { __mode = "v" }) -- by "IP:PORT": this worker's requests in progress
local STATS_SECONDS = 30 * 86400 -- longer than any canary
local LEAST_SHARE = 0.1 -- of a replica at the beginning of its slow start
local live = {}

-- A peer that was not in the set `before` starts slowly. The peers in a worker's first set are not new.
local function list_of(text, set, before, group)
    local list = { position = pid }
    for address, host, port in text:gmatch('"((%d+%.%d+%.%d+%.%d+):(%d+))"') do
        numbered = numbered + 1
        local peer = { key = pid .. " " .. numbered, entry = numbered .. ",", address = address, host = host, held = 0 }
        peer.port, peer.set, peer.group = tonumber(port), set, group
        peer.replica = replicas[address] or { active = 0 }
        replicas[address] = peer.replica
        peer.since = before and (before.since[address] or ngx.now()) or 0
        set.since[address] = peer.since
        peer_of[peer.entry] = peer
        requests:set(peer.key, 0) -- an earlier worker may have had the same pid
        requests:set(peer.key .. " peer", table.concat({ set.service, set.generation, address }, " "))
        list[#list + 1] = peer
    end
    return list
end

local function generation_of(text)
    return tonumber(text:match('"generation":(%d+)')) or 0
end

-- A split contains the peers of a canary.
local function parse(text, service, before)
    local old, new, percent = text:match('^(.-)"split":{"endpoints":(.-),"percent":([%d.]+)')
    local set = { service = service, generation = generation_of(text), since = {}, due = 0 }
    set.old = list_of(old or text, set, before, percent and "old")
    if percent then
        set.new = list_of(new, set, before, "new")
        set.share = tonumber(percent) / 100
    end
    return set
end

local function forget(peer)
    requests:delete(peer.key) -- only this worker changes its own keys
    requests:delete(peer.key .. " peer")
    peer_of[peer.entry] = nil
end

local function retire(list)
    for _, peer in ipairs(list or {}) do
        peer.gone = true
        if peer.held == 0 then
            forget(peer)
        end
    end
end

local function refresh(service, on_disk)
    local epoch = peers:get(EPOCH)
    local set = sets[service]
    local seen = peers:get(service) or ""
    if not set or set.seen ~= seen then
        local text = generation_of(seen) >= generation_of(on_disk) and seen or on_disk
        local before = set
        if not before or before.generation < generation_of(text) then
            set = parse(text, service, before)
            sets[service] = set
            retire(before and before.old)
            retire(before and before.new)
        end
        set.seen = seen
    end
    set.epoch = epoch
    return set
end

local function share_of(peer, slow_start)
    local share = slow_start and (ngx.now() - peer.since) / slow_start or 1
    return math.max(LEAST_SHARE, math.min(share, 1))
end

-- Return the next peer in turn that is not in `except`, or, with `least`, the one with the fewest requests for its
-- share.
local function choose_in(list, except, options)
    local best, least
    for _ = 1, #list do
        list.position = list.position % #list + 1
        local peer = list[list.position]
        local load = 0
        if options then
            local share = share_of(peer, options.slow_start)
            load = options.least and (peer.replica.active + 1) / share or share < math.random() and 1 or 0
        end
        if not (except and except[peer.address]) and (not best or load < least) then
            best, least = peer, load
            if load == 0 then
                break
            end
        end
    end
    return best
end

-- A canary gets at most its share; a further attempt of a request goes to any peer that has not been tried. nginx
-- allows one more attempt if a keepalive connection failed: it goes to a peer that had accepted a connection.
local function choose(set, tried, refused, options)
    local first, second = set.old, set.new
    if second and not tried then
        set.due = set.due + set.share
        if set.due >= 1 then
            set.due = set.due - 1
            first, second = second, first
        end
    end
    local function choose_except(except)
        return choose_in(first, except, options) or second and choose_in(second, except, options)
    end
    return choose_except(tried) or tried and choose_except(refused) or first[1] or second and second[1]
end

local function count(peer, number)
    peer.held = peer.held + number
    peer.replica.active = peer.replica.active + number
    requests:incr(peer.key, number, 0)
end

local function release(peer)
    count(peer, -1)
    if peer.gone and peer.held == 0 then
        forget(peer)
    end
end

-- Count a response during a canary, with its time in a bucket of 1.1 to the power of N milliseconds, or an attempt that
-- failed without a response.
local function measure(peer, is_error, seconds)
    local set = peer.set
    if not peer.group or sets[set.service] ~= set then
        return
    end
    local stat = table.concat({ "stat", set.service, set.generation, peer.group, "" }, " ")
    requests:incr(stat .. "requests", 1, 0, STATS_SECONDS)
    if is_error then
        requests:incr(stat .. "errors", 1, 0, STATS_SECONDS)
    end
    if seconds then
        local bucket = math.ceil(math.log(math.max(seconds * 1000, 1)) / math.log(1.1))
        requests:incr(stat .. bucket, 1, 0, STATS_SECONDS)
    end
end

-- The peer is counted before the epoch is compared: after a cutover, either the count includes the request, or the
-- request sees the cutover and chooses again.
local function is_current(set)
    return peers:get(EPOCH) == set.epoch
end

local function hold(service, on_disk, tried, refused, options)
    local set = sets[service] or refresh(service, on_disk)
    while true do
        local peer = choose(set, tried, refused, options)
        if peer then
            count(peer, 1)
        end
        if is_current(set) then
            return peer, set
        end
        if peer then
            release(peer)
        end
        set = refresh(service, on_disk)
    end
end

-- nginx writes " : " after the attempts that preceded a redirect.
local function attempts(variable)
    local text = (variable or ""):gsub(" : $", "")
    return (text:match(".* : (.*)") or text):gmatch("[^, ]+")
end

-- Return the addresses where attempts of this request failed, those that could not be reached, and the last one.
local function failed_addresses()
    local tried, refused, last = {}, {}, nil
    local connect_time = attempts(var.upstream_connect_time)
    for address in attempts(var.upstream_addr) do
        tried[address] = true
        refused[address] = connect_time() == "-" or nil
        last = address
    end
    return tried, refused, last
end

-- Choose for any attempt, even a later one, one with options or in a canary, or one before this worker has the peers.
local function balance_any(service, on_disk, options)
    local entries = var.conductor_held
    local tried, refused, failed
    local failure = balancer.get_last_failure()
    if failure then
        tried, refused, failed = failed_addresses()
        for entry in entries:gmatch("[^,]+,") do
            local peer = peer_of[entry]
            if peer and peer.address == failed and peer.set.service == service then
                release(peer)
                entries = entries:gsub("%f[%d]" .. entry, "", 1) -- "1," is also the end of "11,"
                if failure == "failed" then
                    measure(peer, true)
                end
                break
            end
        end
    end
    local peer, set = hold(service, on_disk, tried, refused, options)
    var.conductor_held = peer and entries .. peer.entry or entries
    if peer then
        local others = #set.old + (set.new and #set.new or 0) - 1
        if not tried and others > 0 then
            balancer.set_more_tries(others)
        end
        assert(balancer.set_current_peer(peer.host, peer.port))
    end
end

-- Called for each attempt of a request. Without a peer, nginx uses the server in the upstream, which returns 503.
-- A request variable contains an entry for each peer of a request and its subrequests: unlike `ngx.ctx`, it survives a
-- redirect.
function live.balance(service, on_disk, options)
    local set = sets[service]
    if not set or set.new or options or var.conductor_held ~= "" then
        return balance_any(service, on_disk, options)
    end
    local list = set.old
    local number = #list
    local position = list.position % number + 1
    local peer = list[position]
    if not peer then
        return balance_any(service, on_disk)
    end
    list.position = position
    count(peer, 1)
    if not is_current(set) then
        release(peer)
        return balance_any(service, on_disk)
    end
    var.conductor_held = peer.entry
    if number > 1 then
        balancer.set_more_tries(number - 1)
    end
    assert(balancer.set_current_peer(peer.host, peer.port))
end

local function finish(peer)
    release(peer)
    if peer.group then
        local seconds = ngx.status ~= 101 and (var.upstream_response_time or ""):match("[%d.]+$")
        measure(peer, ngx.status >= 500, tonumber(seconds or nil))
    end
end

local function finish_each(entries)
    for entry in entries:gmatch("[^,]+,") do
        if peer_of[entry] then
            finish(peer_of[entry])
        end
    end
end

-- Called at the end of each request to this nginx.
function live.finish()
    local entries = var.conductor_held
    if entries == "" or ngx.is_subrequest then
        return
    end
    local peer = peer_of[entries]
    if peer then
        finish(peer)
    else
        finish_each(entries)
    end
end

local function refuse(status, text)
    ngx.status = status
    ngx.say(text)
    return ngx.exit(status)
end

local function set_peers(lines)
    local wanted = {}
    for text in lines:gmatch("[^\n]+") do
        local service = text:match('"service":"([^"]+)"')
        local present = generation_of(peers:get(service) or "")
        if present > generation_of(text) then
            return refuse(409, service .. " is at the later generation " .. present)
        end
        wanted[service] = text
    end
    local failure
    for service, text in pairs(wanted) do
        local before = peers:get(service)
        local done, cause = peers:safe_set(service, text)
        if not done then
            failure = cause
            peers:safe_set(service, before) -- if memory was insufficient, nginx has deleted the previous text
        end
    end
    peers:incr(EPOCH, 1, 0)
    if failure then
        return refuse(507, failure)
    end
    ngx.say("done")
end

local function exists(worker)
    local file = io.open("/proc/" .. worker .. "/stat")
    return file and file:close()
end

-- Print the requests in progress and the measurements. Delete the entries of workers that are gone, and measurements of
-- earlier generations.
local function say_requests()
    local gone = {}
    for _, key in ipairs(requests:get_keys(0)) do
        local worker = key:match("^%d+")
        if worker and gone[worker] == nil then
            gone[worker] = exists(pid) and not exists(worker)
        end
        local peer = requests:get(key .. " peer")
        if worker and gone[worker] then
            requests:delete(key)
        elseif peer then
            ngx.say("held ", worker, " ", peer, " ", requests:get(key) or 0)
        elseif not worker then
            local service, generation = key:match("^stat (%S+) (%d+)")
            if tonumber(generation) < generation_of(peers:get(service) or "") then
                requests:delete(key)
            else
                ngx.say(key, " ", requests:get(key) or 0)
            end
        end
    end
end

-- Handles requests on Conductor's private socket: POST sets peers, GET prints them and the requests in progress.
function live.control()
    if ngx.req.get_method() == "POST" then
        ngx.req.read_body()
        return set_peers(ngx.req.get_body_data() or "")
    end
    for _, service in ipairs(peers:get_keys(0)) do
        if service ~= EPOCH then
            ngx.say("peers ", peers:get(service))
        end
    end
    say_requests()
end

package.loaded["conductor.live"] = live
return live
