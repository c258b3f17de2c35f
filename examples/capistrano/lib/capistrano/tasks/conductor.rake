# What Conductor is told on each host, one host after the other. The first failure ends it: the hosts after it are not
# touched. The one that failed still runs what it ran; a rollback takes service after service, and which it had done is
# said. A lost connection stops no upgrade that has begun.
require "shellwords"

NO_CODE = "there was no exit code: the connection was lost, or Conductor was killed; see conductor service status there"

# What a host says, beside the terminal.
ConductorSaid = Struct.new(:text) do
  def on_data(_command, _stream, data, _channel)
    text << data
  end
end

# The stage's hosts in their order, or those of them that HOSTS=web1.example.com,… names.
def conductor_hosts
  hosts = env.filter(roles(:all))
  abort "cannot find a host of HOSTS=#{ENV.fetch("HOSTS", "")} in stage #{fetch(:stage)}" if hosts.empty?
  hosts
end

# The services of a host: those of all its roles.
def conductor_services(host)
  ids = host.roles.flat_map { |role| fetch(:services).fetch(role, []) }.uniq
  abort "cannot deploy to #{host}: no role of it has services; see :services in config/deploy.rb" if ids.empty?
  ids
end

# SSHKit joins words with blanks, and the host's shell reads them: each is escaped.
def conductor_call(verb, ids, *more)
  ["sudo", "-n", "conductor", "service", verb, *ids.flat_map { |id| ["--id", id] }, *more].map(&:shellescape)
end

# Ids => call: one for all services of an upgrade, which move together or not at all; one for each of a rollback.
def conductor_calls(verb, host, *more)
  ids = conductor_services(host)
  groups = verb == "upgrade" ? [ids] : ids.map { |id| [id] }
  groups.to_h { |group| [group, conductor_call(verb, group, *more)] }
end

def conductor_on_each_host(verb, *more)
  hosts = conductor_hosts
  calls = hosts.to_h { |host| [host.hostname, conductor_calls(verb, host, *more)] } # all can be made, or none is
  done, unchanged, part = [], [], []
  on(hosts, in: :sequence) do |host|
    said = ConductorSaid.new(+"")
    part.clear
    calls.fetch(host.hostname).each do |ids, call|
      raise NO_CODE unless execute(*call, interaction_handler: said)
      part.concat(ids)
    end
    (said.text.include?("; nothing to do") ? unchanged : done) << host
  end
rescue SSHKit::Runner::ExecuteError => error
  why = error.cause.is_a?(SSHKit::Command::Failed) ? "Conductor's words are above" : error.message
  failed, *untouched = hosts - done - unchanged
  stand = { "done on #{failed}" => part, "done before" => done, "had it already, all or in part" => unchanged,
            "not touched" => untouched }
  back = verb == "upgrade" && done.any? ? ["cap #{fetch(:stage)} rollback HOSTS=#{done.join(",")}"] : []
  abort conductor_where_it_stands("#{verb} stopped at #{failed}: #{why}", stand.merge("take back what was done" => back))
end

def conductor_where_it_stands(sentence, stand)
  [sentence, *stand.reject { |_, names| names.empty? }.map { |what, names| "  #{what}: #{names.join(", ")}" }].join("\n")
end

desc "Upgrade the services of each host: REVISION=(40 hexadecimal digits)"
task :deploy do
  revision = ENV.fetch("REVISION", "")
  unless revision.match?(/\A[0-9a-f]{40}\z/)
    abort "cannot deploy #{revision.empty? ? "without REVISION" : revision.inspect}: " \
          "write REVISION=$(git rev-parse HEAD), all 40 digits of it"
  end
  conductor_on_each_host("upgrade", "--revision", revision)
end

desc "Bring each host, or those of HOSTS=, back to the release before the live one"
task :rollback do
  conductor_on_each_host("rollback")
end

desc "Say which services are deployed to which host; connects to none"
task :services do
  conductor_hosts.each { |host| puts "#{host}: #{conductor_services(host).join(" ")}" }
end
