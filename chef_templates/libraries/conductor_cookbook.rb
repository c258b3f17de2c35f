require 'digest'
require 'json'

# Helpers of the recipes and resources. host_definitions.rb turns data bags into one host's definitions.
module ConductorCookbook
  STATE_DIR = '/var/lib/conductor'.freeze
  INCLUDE_DIR = '/etc/nginx/conductor.d'.freeze
  KEPT_ENVIRONMENTS = 2 # earlier installations kept beside the current one

  # The data bags or attributes are invalid; the message lists every problem.
  class Error < StandardError; end

  # JSON leaves these characters unescaped; YAML treats them as line breaks or rejects the file.
  YAML_UNSAFE = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/.freeze

  module_function

  # Return the text of a definitions file. JSON is valid YAML, and its quotes keep a value such as "12e4567" a string.
  def yaml(document)
    JSON.pretty_generate(document).gsub(YAML_UNSAFE) { |character| format('\u%04x', character.ord) }
  end

  # Convert node attributes and data bag items into plain hashes and arrays of JSON's types.
  def plain(value)
    case value
    when Hash then value.to_h { |key, inner| [key.to_s, plain(inner)] }
    when Array then value.map { |inner| plain(inner) }
    when String, Integer, Float, true, false, nil then value
    when Symbol then value.to_s
    else raise Error, "cannot write a #{value.class} into the definitions: use strings, numbers, lists and mappings"
    end
  end

  # Return the directories that `host:` moves and that supervise writes to.
  def moved_paths(host)
    [host['state_dir'], host['runtime_dir'], host.dig('nginx', 'include_dir'), host.dig('cron', 'dir')].compact
  end

  # Return a digest of `host:`, so that a file can change with `host:` without containing it.
  def digest(host)
    Digest::SHA256.hexdigest(JSON.generate(host))[0, 12]
  end

  # Return the message for definitions that `conductor config check` rejects. The candidate is a temporary file, so
  # its name is replaced by the path, without the line numbers.
  def config_check_error(path, candidate, output, services_bag)
    "cannot write #{path}: conductor config check failed; the current file stays in place. " \
      "services.ID.KEY is KEY of item ID in data bag #{services_bag}.\n" +
      output.gsub(/#{Regexp.escape(candidate)}(:\d+)?/) { path }.chomp
  end

  WEB_VALUES = {
    'server_name' => /\A[A-Za-z0-9][A-Za-z0-9.-]*\z/,
    'certificate' => %r{\A/[A-Za-z0-9_./-]+\z},
    'certificate_key' => %r{\A/[A-Za-z0-9_./-]+\z},
    'user_file' => %r{\A/[A-Za-z0-9_./-]+\z}
  }.freeze
  ADDRESS = %r{\A\h[\h.:]*(/\d{1,3})?\z}.freeze

  # Return the variables of nginx's server block for the status page; nil if there is none.
  def web_server(web)
    return unless web['enabled'] && web['server_name']

    invalid = WEB_VALUES.reject { |key, pattern| web[key].to_s.match?(pattern) }.keys
    addresses = web['metrics_from'].to_a
    invalid << 'metrics_from' unless addresses.all? { |one| one.to_s.match?(ADDRESS) }
    return WEB_VALUES.keys.to_h { |key| [key, web[key]] }.merge('metrics_from' => addresses) if invalid.empty?

    raise Error, "cannot write nginx's server block of the status page: node['conductor']['web'] has no valid " \
      "#{invalid.join(', ')}: use a host name, absolute paths, and IP addresses or networks"
  end

  # Return true if the files that the server block names exist. Without them, nginx would reject its configuration.
  def web_files!(server)
    missing = server.values_at('certificate', 'certificate_key', 'user_file').reject { |path| ::File.file?(path) }
    return true if missing.empty?

    raise Error, "cannot write nginx's server block of the status page: #{missing.join(', ')} must exist on the host"
  end

  # Return the users for sudoers: names, or %group.
  def valid_deploy_users(users)
    invalid = users.reject { |user| user.match?(/\A%?[a-z_][a-z0-9_-]*\z/) }
    return users if invalid.empty?

    raise Error, "cannot write sudoers: node['conductor']['deploy_users'] contains " \
      "#{invalid.map(&:inspect).join(', ')}: use user names or %group"
  end
end
