# Runs conductor on one host after another and stops at the first failure. The remaining hosts are left alone, and the
# failed host keeps serving its current release. A lost connection does not stop an upgrade that has already started.
require "json"
require "shellwords"

NO_RESULT = "no result: connection lost, or command denied or killed; run conductor service status on the host"

# The stage's hosts in order, or those named by HOSTS=web1.example.com,…
def conductor_hosts
  hosts = env.filter(roles(:all))
  abort "cannot find HOSTS=#{ENV.fetch("HOSTS", "")} in stage #{fetch(:stage)}" if hosts.empty?
  hosts
end

# The services of all roles of a host.
def conductor_services(host)
  ids = host.roles.flat_map { |role| fetch(:services).fetch(role, []) }.uniq
  abort "cannot deploy to #{host}: add services of its roles to :services in config/deploy.rb" if ids.empty?
  ids
end

# SSHKit joins the words with spaces for the remote shell, so each word is escaped.
def conductor_command(action, ids, options)
  words = ids.flat_map { |id| ["--id", id] }
  ["sudo", "-n", "conductor", "service", action, *words, *options, "--json"].map(&:shellescape)
end

# One upgrade changes all services of a host together. A rollback takes one service at a time.
def conductor_commands(action, host, options)
  ids = conductor_services(host)
  groups = action == "upgrade" ? [ids] : ids.map { |id| [id] }
  groups.map { |group| conductor_command(action, group, options) }
end

# The last event of a command's output, either "finished" or "failed".
def conductor_result(output)
  event = JSON.parse(output.lines.last || "{}")
  %w[finished failed].include?(event["event"]) ? event : raise(NO_RESULT)
rescue JSON::ParserError
  raise NO_RESULT
end

def conductor_on_each_host(action, *options)
  hosts = conductor_hosts
  commands = hosts.to_h { |host| [host.hostname, conductor_commands(action, host, options)] }
  results = {} # hostname => what its commands reported about each service
  on(hosts, in: :sequence) do |host|
    results[host.hostname] = []
    commands.fetch(host.hostname).each do |command|
      result = conductor_result(capture(*command, verbosity: :info, raise_on_non_zero_exit: false))
      results[host.hostname].concat(result["services"])
      raise result.fetch("error", "exit code #{result["exit_code"]}") unless result["exit_code"].zero?
    end
  end
rescue SSHKit::Runner::ExecuteError => error
  abort conductor_failure(action, hosts.map(&:hostname), results, error.cause.message)
end

# A host with an unchanged service is not offered for rollback: that service would go back one release too far.
def conductor_failure(action, hosts, results, reason)
  *completed, failed = results.keys
  changed, unchanged = completed.partition { |host| results[host].all? { |service| service["changed"] } }
  rollback = "cap #{fetch(:stage)} rollback HOSTS=#{changed.join(",")}"
  report = {
    "services changed on #{failed}" => results[failed].filter_map { |one| one["service"] if one["changed"] },
    "hosts changed" => changed,
    "hosts unchanged, fully or partly" => unchanged,
    "hosts not reached" => hosts - results.keys,
    "to roll back the changed hosts" => action == "upgrade" && changed.any? ? [rollback] : []
  }
  lines = report.reject { |_, values| values.empty? }.map { |key, values| "  #{key}: #{values.join(", ")}" }
  ["#{action} stopped at #{failed}: #{reason}", *lines].join("\n")
end

desc "Upgrade the services of each host: REVISION=(40 hexadecimal digits)"
task :deploy do
  revision = ENV.fetch("REVISION", "")
  unless revision.match?(/\A[0-9a-f]{40}\z/)
    abort "cannot deploy revision #{revision.inspect}: use REVISION=$(git rev-parse HEAD), with all 40 digits"
  end
  conductor_on_each_host("upgrade", "--revision", revision)
end

desc "Roll back each host, or those in HOSTS=, to the previous release"
task :rollback do
  conductor_on_each_host("rollback")
end

desc "List the services of each host without connecting to it"
task :services do
  conductor_hosts.each { |host| puts "#{host}: #{conductor_services(host).join(" ")}" }
end
