module ConductorCookbook
  # The definitions and secret files of one host, computed from data bag items. It reads and writes no files.
  class HostDefinitions
    NOT_IN_DEFINITION = %w(id chef_type data_bag runs_on secrets).freeze
    ID = /\A[a-z0-9][a-z0-9_-]{0,62}\z/.freeze # stricter than Chef, whose ids may be ".."
    SECRET_NAME = /\A(?!(?:id|chef_type|data_bag)\z)[A-Za-z0-9_][A-Za-z0-9_.:\[\]-]*\z/.freeze

    # `bags` maps services, hosts and secrets to the names of their data bags. `services` and `hosts` are the items of
    # two of them. `host` and `defaults` are the sections of the definitions with these names.
    def initialize(bags:, host_name:, services:, hosts:, secrets_dir:, host: {}, defaults: {})
      @bags = bags
      @host_name = host_name
      @services = services
      @hosts = hosts
      @secrets_dir = secrets_dir
      @host = host
      @defaults = defaults
    end

    # Raise an error with all problems that can be found without reading secrets.
    def validate!
      of_services = @services.flat_map do |item|
        id_problems(item) + runs_on_problems(item) + env_problems(item) + secrets_problems(item)
      end
      raise_problems(host_problems + of_services)
    end

    # Return the definitions file as a Hash.
    def document
      document = { 'version' => 1 }
      document['host'] = @host unless @host.empty?
      document['defaults'] = @defaults unless @defaults.empty?
      document['services'] = services_on_host.to_h { |item| [item['id'], definition(item)] }
      document
    end

    # Return the ids of this host's services that have secrets.
    def ids_with_secrets
      services_on_host.reject { |item| secret_names(item).empty? }.map { |item| item['id'] }
    end

    # Return the contents of all secret files by path. `items` are items of the secrets bag by id.
    def secret_files(items)
      problems = []
      files = services_on_host.flat_map { |item| secret_files_of(item, items[item['id']], problems) }.to_h
      raise_problems(problems)
      files
    end

    private

    def host_item
      @hosts.find { |item| item['id'] == @host_name } || {}
    end

    def services_on_host
      @services.select do |item|
        runs_on = item['runs_on']
        Array(runs_on['hosts']).include?(@host_name) || (Array(runs_on['roles']) & Array(host_item['roles'])).any?
      end
    end

    def definition(item)
      definition = item.reject { |key, _| NOT_IN_DEFINITION.include?(key) }
      references = secret_names(item).to_h { |name| [name, { 'file' => secret_path(item, name) }] }
      definition['env'] = (definition['env'] || {}).merge(references) unless references.empty?
      definition
    end

    def secret_names(item)
      Array(item['secrets'])
    end

    def secret_path(item, name)
      File.join(@secrets_dir, item['id'], name)
    end

    # Conductor drops one newline at the end of a secret file, so one is added to keep the value unchanged.
    def secret_files_of(item, values, problems)
      secret_names(item).map do |name|
        value = values && values[name]
        cause = secret_value_problem(value)
        problems << problem(:secrets, item['id'], name, cause) if cause
        [secret_path(item, name), "#{value}\n"]
      end
    end

    def secret_value_problem(value)
      return "missing, but listed in the service's secrets" if value.nil?
      return "must be a string, not #{value.class.name.downcase}" unless value.is_a?(String)

      'must not contain a NUL byte' if value.include?("\0")
    end

    def host_problems
      return [] unless host_item.empty?

      ["data bag #{@bags[:hosts]}: no item #{@host_name}: create one with this machine's roles, " \
        "for example {\"id\": \"#{@host_name}\", \"roles\": []}"]
    end

    def id_problems(item)
      return [] if item['id'].match?(ID)

      [problem(:services, item['id'], 'id', 'must be 1 to 63 lower-case letters, digits, _ and -, starting with a letter or digit')]
    end

    def runs_on_problems(item)
      runs_on = item['runs_on']
      unless runs_on.is_a?(Hash) && !runs_on.empty? && (runs_on.keys - %w(hosts roles)).empty?
        return [problem(:services, item['id'], 'runs_on', 'must be {"hosts": [...]}, {"roles": [...]} or both')]
      end

      known = {
        'hosts' => @hosts.map { |host| host['id'] },
        'roles' => @hosts.flat_map { |host| Array(host['roles']) }
      }
      runs_on.flat_map do |kind, names|
        key = "runs_on.#{kind}"
        next problem(:services, item['id'], key, 'must be a non-empty list') unless names.is_a?(Array) && !names.empty?

        expected = "expected one of #{known[kind].uniq.sort.join(', ')} (data bag #{@bags[:hosts]})"
        (names - known[kind]).map do |name|
          problem(:services, item['id'], key, "unknown #{kind.chomp('s')} #{name}; #{expected}")
        end
      end
    end

    def env_problems(item)
      return [] if item['env'].nil? || item['env'].is_a?(Hash)

      [problem(:services, item['id'], 'env', 'must be a mapping, for example {"RAILS_ENV": "production"}')]
    end

    def secrets_problems(item)
      names = item.fetch('secrets', [])
      unless names.nil? || (names.is_a?(Array) && names.all? { |name| name.is_a?(String) && name.match?(SECRET_NAME) })
        return [problem(:services, item['id'], 'secrets', 'must be a list of names, for example ["DATABASE_URL"]')]
      end

      env = item['env'].is_a?(Hash) ? item['env'].keys : []
      (secret_names(item) & env).map do |name|
        problem(:services, item['id'], "env.#{name}", 'also listed in secrets; keep one')
      end
    end

    def problem(bag, item, key, text)
      "data bag #{@bags[bag]}, item #{item}: #{key}: #{text}"
    end

    def raise_problems(problems)
      return if problems.empty?

      raise Error, "cannot write the definitions: invalid data bags; nothing was changed\n#{problems.join("\n")}"
    end
  end
end
