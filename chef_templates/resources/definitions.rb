# Writes a host's definitions and secret files from data bags. Invalid definitions do not replace the current file.
# Nothing is deployed: running services change with their next upgrade.
unified_mode true
provides :conductor_definitions

property :path, String, name_property: true
property :services_bag, String, default: 'conductor_services'
property :hosts_bag, String, default: 'conductor_hosts'
property :secrets_bag, String, default: 'conductor_secrets'
property :host_name, String, default: lazy { node.name }
property :host, Hash, default: {}
property :defaults, Hash, default: {}
property :secrets_dir, String, default: '/etc/conductor/secrets'
property :command, String, default: '/usr/local/bin/conductor'

default_action :create

action :create do
  host_definitions.validate!
  files = host_definitions.secret_files(secrets)
  document = host_definitions.document
  directory ::File.dirname(new_resource.path) do
    owner 'root'
    group 'root'
    mode '0755'
  end
  [new_resource.secrets_dir, *files.keys.map { |path| ::File.dirname(path) }].uniq.each do |path|
    directory path do
      owner 'root'
      group 'root'
      mode '0700'
    end
  end
  existing, added = files.partition { |path, _| ::File.exist?(path) }
  write_secrets(added) # conductor config check reads them
  write_definitions(document)
  write_secrets(existing) # these are replaced only after the definitions have passed the check
end

action_class do
  def write_secrets(files)
    files.each do |path, text|
      file path do
        content text
        owner 'root'
        group 'root'
        mode '0600'
        sensitive true
        backup false
      end
    end
  end

  def write_definitions(document)
    check = method(:check!)
    template new_resource.path do
      source 'services.yml.erb'
      cookbook 'conductor'
      owner 'root'
      group 'root'
      mode '0640'
      sensitive true
      variables(definitions: document)
      verify { |candidate| check.call(candidate) }
    end
  end

  def host_definitions
    @host_definitions ||= ConductorCookbook::HostDefinitions.new(
      bags: { services: new_resource.services_bag, hosts: new_resource.hosts_bag, secrets: new_resource.secrets_bag },
      host_name: new_resource.host_name,
      services: items(new_resource.services_bag),
      hosts: items(new_resource.hosts_bag),
      secrets_dir: new_resource.secrets_dir,
      host: ConductorCookbook.plain(new_resource.host),
      defaults: ConductorCookbook.plain(new_resource.defaults)
    )
  end

  def items(bag)
    data_bag(bag).sort.map { |id| item(bag, id) }
  end

  # Only items of services on this host are fetched. Chef decrypts encrypted items.
  def secrets
    needed = host_definitions.ids_with_secrets
    return {} if needed.empty?

    (needed & data_bag(new_resource.secrets_bag)).to_h { |id| [id, item(new_resource.secrets_bag, id)] }
  end

  def item(bag, id)
    ConductorCookbook.plain(data_bag_item(bag, id).to_h)
  end

  # Chef hides the output of a verify command of a sensitive resource, so a block raises the error instead.
  # Conductor's message names the key and contains no secrets.
  def check!(candidate)
    check = shell_out(new_resource.command, 'config', 'check', '--files', '--config', candidate)
    return true if check.exitstatus == 0

    raise ConductorCookbook::Error,
          ConductorCookbook.config_check_error(new_resource.path, candidate, check.stderr, new_resource.services_bag)
  end
end
