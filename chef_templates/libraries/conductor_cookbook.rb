require 'digest'
require 'json'

# What the cookbook decides before it writes anything; wanted.rb decides what one host runs.
module ConductorCookbook
  STATE_DIR = '/var/lib/conductor'.freeze
  RUNTIME_DIR = '/run/conductor'.freeze
  INCLUDE_DIR = '/etc/nginx/conductor.d'.freeze
  KEPT_ENVIRONMENTS = 2 # superseded installations, besides the one in use

  # The data bags cannot be used, with every reason.
  class Refused < StandardError; end

  # JSON leaves these bare in a text, where YAML folds them like line breaks or refuses the file.
  NOT_BARE_IN_YAML = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/.freeze

  module_function

  # A plain Hash as a definitions file: JSON is YAML, and in quotes a revision like 12e4567 stays a text.
  def yaml(document)
    JSON.pretty_generate(document).gsub(NOT_BARE_IN_YAML) { |letter| format('\u%04x', letter.ord) }
  end

  # Hashes and arrays of JSON's types only: never a node, an attribute or a data bag item with all that hangs on it.
  def plain(value)
    case value
    when Hash then value.to_h { |name, inner| [name.to_s, plain(inner)] }
    when Array then value.map { |inner| plain(inner) }
    when String, Integer, Float, true, false, nil then value
    when Symbol then value.to_s
    else raise Refused, "cannot write a #{value.class} into the definitions: write text, numbers, lists and mappings"
    end
  end

  # Where `host:` has put what supervise writes.
  def moved_paths(host)
    [host['state_dir'], host['runtime_dir'], host.dig('nginx', 'include_dir'), host.dig('cron', 'dir')].compact
  end

  # Another one for another `host:`, which shows nothing of it.
  def digest(host)
    Digest::SHA256.hexdigest(JSON.generate(host))[0, 12]
  end

  # What `conductor config check` said, in the words of whoever writes data bags.
  def refusal(path, candidate, said, services_bag)
    lines = said.lines(chomp: true).reject { |line| line.start_with?('warning: ', "error: cannot use #{candidate}: ") }
    lines = lines.map { |line| line.gsub(/#{Regexp.escape(candidate)}(:\d+: )?/) { Regexp.last_match(1) ? '' : path } }
    "cannot write #{path}: Conductor refuses it, the old file stays; services.ID.KEY is KEY of item ID in data bag " \
      "#{services_bag}\n#{lines.join("\n")}"
  end

  # A user or a %group as sudoers has them.
  def deploy_users(users)
    odd = users.reject { |user| user.match?(/\A%?[a-z_][a-z0-9_-]*\z/) }
    return users if odd.empty?

    raise Refused, "cannot write sudoers: node['conductor']['deploy_users'] has #{odd.map(&:inspect).join(', ')}: " \
      'write names of users, or %group'
  end
end
