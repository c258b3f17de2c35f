# Installs Conductor's wheel into a virtual environment named after the digest of the wheel and its extras, and links the
# command to it.
# An upgrade replaces only the link, so cron jobs and supervise never see a partial installation.
unified_mode true
provides :conductor_install

property :wheel, String, name_property: true
property :checksum, String
property :pip_options, Array, default: []
property :extras, Array, default: []
property :install_dir, String, default: '/opt/conductor'
property :command, String, default: '/usr/local/bin/conductor'

default_action :install

action :install do
  package 'python3-venv'
  directory new_resource.install_dir do
    owner 'root'
    group 'root'
    mode '0755'
  end
  wheel = local_wheel
  environment = ::File.join(new_resource.install_dir, digest(wheel)[0, 12])
  requirement = new_resource.extras.empty? ? wheel : "#{wheel}[#{new_resource.extras.join(',')}]"
  execute "create #{environment}" do
    command ['python3', '-m', 'venv', '--clear', environment]
    creates "#{environment}/bin/conductor"
  end
  execute "install #{::File.basename(wheel)} into #{environment}" do
    command ["#{environment}/bin/pip", 'install', '--disable-pip-version-check', *new_resource.pip_options, requirement]
    creates "#{environment}/bin/conductor"
  end
  link_command("#{environment}/bin/conductor")
  old_environments(environment).each do |path|
    directory path do
      recursive true
      action :delete
    end
  end
end

action_class do
  require 'digest'

  # Return the wheel's path on this host; download it from a URL.
  def local_wheel
    return new_resource.wheel unless new_resource.wheel.match?(%r{\Ahttps?://})
    unless new_resource.checksum
      raise ConductorCookbook::Error, "cannot install #{new_resource.wheel}: set checksum to its SHA-256"
    end

    cached = ::File.join(Chef::Config[:file_cache_path], ::File.basename(new_resource.wheel))
    remote_file cached do
      source new_resource.wheel
      checksum new_resource.checksum
      mode '0644'
    end
    cached
  end

  # Return a digest of the wheel and the extras, so that each combination gets its own environment.
  def digest(wheel)
    found = ::Digest::SHA256.file(wheel).hexdigest
    new_resource.extras.empty? ? found : ::Digest::SHA256.hexdigest([found, *new_resource.extras].join(' '))
  end

  # ln replaces the link in one rename. Chef's `link` removes the old one first, and a job that starts in between
  # fails.
  def link_command(target)
    link = new_resource.command
    execute "link #{link} to #{target}" do
      command ['ln', '-sfT', target, link]
      not_if { ::File.symlink?(link) && ::File.readlink(link) == target }
    end
  end

  # Long tasks may still run from the previous environments, so the newest of them are kept.
  def old_environments(environment)
    others = ::Dir.glob(::File.join(new_resource.install_dir, '*')).grep(%r{/\h{12}\z}) - [environment]
    others.sort_by { |path| ::File.mtime(path) }.reverse.drop(ConductorCookbook::KEPT_ENVIRONMENTS)
  end
end
