# The definitions of one host and its secrets, from data bags. What Conductor would refuse is refused before the old file
# is replaced, and nothing is deployed: running services change with the next upgrade.
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
  wanted.refuse_problems!
  files = wanted.secret_files(secrets)
  document = wanted.document
  directory ::File.dirname(new_resource.path) do
    owner 'root'
    group 'root'
    mode '0755'
  end
  [new_resource.secrets_dir, *files.keys.map { |path| ::File.dirname(path) }].uniq.each do |place|
    directory place do
      owner 'root'
      group 'root'
      mode '0700'
    end
  end
  there, added = files.partition { |path, _| ::File.exist?(path) }
  write_secrets(added) # Conductor reads them when it judges
  write_definitions(document)
  write_secrets(there) # what was there is replaced when it has accepted the definitions
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
    judge = method(:accepted!)
    template new_resource.path do
      source 'services.yml.erb'
      cookbook 'conductor'
      owner 'root'
      group 'root'
      mode '0640'
      sensitive true
      variables(definitions: document)
      verify { |candidate| judge.call(candidate) }
    end
  end

  def wanted
    @wanted ||= ConductorCookbook::Wanted.new(
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

  # Only those of services that run here; an encrypted item is decrypted by Chef.
  def secrets
    needed = wanted.with_secrets
    return {} if needed.empty?

    there = data_bag(new_resource.secrets_bag)
    (needed & there).to_h { |id| [id, item(new_resource.secrets_bag, id)] }
  end

  def item(bag, id)
    ConductorCookbook.plain(data_bag_item(bag, id).to_h)
  end

  # A block, not a command: of a sensitive resource Chef shows "[sensitive]" in place of what a verify command said, and
  # Conductor, which shows no secrets, has named the key.
  def accepted!(candidate)
    check = shell_out(new_resource.command, 'config', 'check', '--files', '--config', candidate)
    return true if check.exitstatus == 0

    raise ConductorCookbook::Refused,
          ConductorCookbook.refusal(new_resource.path, candidate, check.stderr, new_resource.services_bag)
  end
end
