module ConductorCookbook
  # What one host should run, from the items of the data bags: the definitions, the files of secrets, and all that is
  # wrong. It reads and writes nothing.
  class Wanted
    NOT_DEFINITION = %w(id chef_type data_bag runs_on secrets).freeze
    ID = /\A[a-z0-9][a-z0-9_-]{0,62}\z/.freeze # Conductor's; Chef admits "..", which is no directory for secrets
    SECRET_NAME = /\A(?!(?:id|chef_type|data_bag)\z)[A-Za-z_][A-Za-z0-9_.-]*\z/.freeze

    # `bags` has the names of the three bags; `services` and `hosts` are their items; `host` and `defaults` are what
    # the attributes say.
    def initialize(bags:, host_name:, services:, hosts:, secrets_dir:, host: {}, defaults: {})
      @bags = bags
      @host_name = host_name
      @services = services
      @hosts = hosts
      @secrets_dir = secrets_dir
      @host = host
      @defaults = defaults
    end

    # Everything that can be said without secrets, at once.
    def refuse_problems!
      of_services = @services.flat_map do |item|
        id_problems(item) + place_problems(item) + env_problems(item) + secret_problems(item)
      end
      refuse(host_problems + of_services)
    end

    # The host's definitions file as a plain Hash.
    def document
      document = { 'version' => 1 }
      document['host'] = @host unless @host.empty?
      document['defaults'] = @defaults unless @defaults.empty?
      document['services'] = here.to_h { |item| [item['id'], definition(item)] }
      document
    end

    # Ids of the services whose secrets this host needs.
    def with_secrets
      here.reject { |item| names_of(item).empty? }.map { |item| item['id'] }
    end

    # Path => text of every secret's file; `items` are those of the secrets' bag, by id.
    def secret_files(items)
      problems = []
      files = here.flat_map { |item| secrets_of(item, items[item['id']], problems) }.to_h
      refuse(problems)
      files
    end

    private

    def own
      @hosts.find { |item| item['id'] == @host_name } || {}
    end

    def here
      @services.select do |item|
        place = item['runs_on']
        Array(place['hosts']).include?(@host_name) || (Array(place['roles']) & Array(own['roles'])).any?
      end
    end

    def definition(item)
      kept = item.reject { |key, _| NOT_DEFINITION.include?(key) }
      references = names_of(item).to_h { |name| [name, { 'file' => secret_path(item, name) }] }
      kept['env'] = (kept['env'] || {}).merge(references) unless references.empty?
      kept
    end

    def names_of(item)
      Array(item['secrets'])
    end

    def secret_path(item, name)
      File.join(@secrets_dir, item['id'], name)
    end

    # Conductor drops one newline at the end of a secret's file, so one is written, and the value comes through as it is.
    def secrets_of(item, values, problems)
      names_of(item).map do |name|
        value = values && values[name]
        what = secret_problem(value)
        problems << said(:secrets, item['id'], name, "#{what}: the service's key secrets asks for it") if what
        [secret_path(item, name), "#{value}\n"]
      end
    end

    def secret_problem(value)
      return 'is missing' if value.nil?
      return "must be a text, not #{value.class.name.downcase}" unless value.is_a?(String)

      'must not contain a NUL' if value.include?("\0")
    end

    def host_problems
      return [] unless own.empty?

      ["data bag #{@bags[:hosts]}: has no item #{@host_name}: write one with this machine's roles, " \
        "for example {\"id\": \"#{@host_name}\", \"roles\": []}"]
    end

    def id_problems(item)
      return [] if item['id'].match?(ID)

      [said(:services, item['id'], 'id', 'must be letters a-z, digits, _ and -, a letter or digit first, at most 63 in all')]
    end

    def place_problems(item)
      place = item['runs_on']
      unless place.is_a?(Hash) && !place.empty? && (place.keys - %w(hosts roles)).empty?
        return [said(:services, item['id'], 'runs_on', 'must say where: write {"hosts": [...]}, {"roles": [...]} or both')]
      end

      known = { 'hosts' => @hosts.map { |host| host['id'] }, 'roles' => @hosts.flat_map { |host| Array(host['roles']) } }
      place.flat_map do |kind, names|
        unless names.is_a?(Array) && !names.empty?
          next said(:services, item['id'], "runs_on.#{kind}", 'must be a list of at least one name')
        end

        (names - known[kind]).map do |name|
          said(:services, item['id'], "runs_on.#{kind}", "#{name} does not exist: data bag #{@bags[:hosts]} has " \
            "#{known[kind].uniq.sort.join(', ')}")
        end
      end
    end

    def env_problems(item)
      return [] if item['env'].nil? || item['env'].is_a?(Hash)

      [said(:services, item['id'], 'env', 'must be a mapping, for example {"RAILS_ENV": "production"}')]
    end

    def secret_problems(item)
      names = item.fetch('secrets', [])
      unless names.nil? || (names.is_a?(Array) && names.all? { |name| name.is_a?(String) && name.match?(SECRET_NAME) })
        return [said(:services, item['id'], 'secrets', 'must be a list of variables, for example ["DATABASE_URL"]')]
      end

      env = item['env'].is_a?(Hash) ? item['env'].keys : []
      (names_of(item) & env).map { |name| said(:services, item['id'], "env.#{name}", 'is also in secrets: keep one') }
    end

    def said(bag, item, key, sentence)
      "data bag #{@bags[bag]}, item #{item}: #{key}: #{sentence}"
    end

    def refuse(problems)
      raise Refused, "cannot write the definitions, nothing was changed:\n#{problems.join("\n")}" unless problems.empty?
    end
  end
end
