# Conductor from a wheel, in an environment of its own below install_dir that is named after the wheel's content. The
# command is a link to it: cron jobs and supervise never meet an installation that is half replaced.
unified_mode true
provides :conductor_install

property :wheel, String, name_property: true
property :checksum, String
property :pip_options, Array, default: []
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
  wheel = fetched
  environment = ::File.join(new_resource.install_dir, ::Digest::SHA256.file(wheel).hexdigest[0, 12])
  execute "make #{environment}" do
    command ['python3', '-m', 'venv', '--clear', environment]
    creates "#{environment}/bin/conductor"
  end
  execute "install #{::File.basename(wheel)} into #{environment}" do
    command ["#{environment}/bin/pip", 'install', '--disable-pip-version-check', *new_resource.pip_options, wheel]
    creates "#{environment}/bin/conductor"
  end
  switch("#{environment}/bin/conductor")
  superseded(environment).each do |old|
    directory old do
      recursive true
      action :delete
    end
  end
end

action_class do
  require 'digest'

  # The wheel's path on this host.
  def fetched
    return new_resource.wheel unless new_resource.wheel.match?(%r{\Ahttps?://})
    raise ConductorCookbook::Refused, "cannot install #{new_resource.wheel}: write its SHA-256 as checksum" unless new_resource.checksum

    cached = ::File.join(Chef::Config[:file_cache_path], ::File.basename(new_resource.wheel))
    remote_file cached do
      source new_resource.wheel
      checksum new_resource.checksum
      mode '0644'
    end
    cached
  end

  # ln renames the new link onto the old one; Chef's `link` removes the old one first, and a job that starts then fails.
  def switch(target)
    link = new_resource.command
    execute "link #{link} to #{target}" do
      command ['ln', '-sfT', target, link]
      not_if { ::File.symlink?(link) && ::File.readlink(link) == target }
    end
  end

  # Long tasks may still run from the environment before. Only what was made here is looked at.
  def superseded(environment)
    others = ::Dir.glob(::File.join(new_resource.install_dir, '*')).grep(%r{/\h{12}\z}) - [environment]
    others.sort_by { |path| ::File.mtime(path) }.reverse.drop(ConductorCookbook::KEPT_ENVIRONMENTS)
  end
end
